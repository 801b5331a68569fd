//! A queue of indexes: a ring that doubles when it is full, with a push and a pop of a few instructions.

use alloc::vec::Vec;

#[derive(Default)]
pub(crate) struct Queue {
    /// A power of two of them, or none.
    ring: Vec<u32>,
    /// Positions count up for ever; an entry stands at its position modulo the length.
    head: usize,
    tail: usize,
}

const LEN_INITIAL: usize = 64;

const _: () = assert!(LEN_INITIAL.is_power_of_two());

impl Queue {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    #[inline(always)]
    pub fn push_back(&mut self, index: u32) {
        if self.tail.wrapping_sub(self.head) == self.ring.len() {
            self.grow();
        }
        let place = self.tail & self.ring.len().wrapping_sub(1);
        self.ring[place] = index;
        self.tail = self.tail.wrapping_add(1);
    }

    /// Puts an index before all others.
    pub fn push_front(&mut self, index: u32) {
        if self.tail.wrapping_sub(self.head) == self.ring.len() {
            self.grow();
        }
        self.head = self.head.wrapping_sub(1);
        let place = self.head & self.ring.len().wrapping_sub(1);
        self.ring[place] = index;
    }

    #[inline(always)]
    pub fn pop_front(&mut self) -> Option<u32> {
        if self.head == self.tail {
            return None;
        }
        let index = *self.ring.get(self.head & self.ring.len().wrapping_sub(1))?;
        self.head = self.head.wrapping_add(1);
        Some(index)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let len = (self.ring.len() * 2).max(LEN_INITIAL);
        let mut ring = Vec::with_capacity(len);
        while let Some(index) = self.pop_front() {
            ring.push(index);
        }
        (self.head, self.tail) = (0, ring.len());
        ring.resize(len, 0);
        self.ring = ring;
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use alloc::collections::VecDeque;

    #[test]
    fn it_is_a_queue_however_it_wraps_and_grows() {
        let (mut queue, mut model) = (Queue::default(), VecDeque::new());
        for i in 0..10_000_u32 {
            if i % 7 == 0 {
                queue.push_front(i);
                model.push_front(i);
            } else {
                queue.push_back(i);
                model.push_back(i);
            }
            if i % 3 > 0 && i < 8_000 {
                assert_eq!(queue.pop_front(), model.pop_front());
            }
        }
        while let Some(index) = model.pop_front() {
            assert_eq!(queue.pop_front(), Some(index));
        }
        assert_eq!(queue.pop_front(), None);
    }
}
