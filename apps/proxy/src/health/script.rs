//! A check on the bare connection: what is said, and what has to be heard, step by step.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use weir_config::TcpStep;

/// One step.
pub(super) struct Step {
    /// What is said; nothing if the server speaks first.
    pub send: Option<&'static [u8]>,
    /// What the server says then, with anything before and behind it.
    expect: Box<[u8]>,
}

/// The same steps for every check of a pool, kept for as long as the image runs.
pub(super) fn script(steps: &[TcpStep]) -> &'static [Step] {
    let bytes = |text: &String| text.as_bytes().into();
    let steps: Vec<Step> = steps
        .iter()
        .map(|step| Step {
            send: (!step.send.is_empty()).then(|| &*Box::leak(bytes(&step.send))),
            expect: bytes(&step.expect),
        })
        .collect();
    Box::leak(steps.into_boxed_slice())
}

impl Step {
    /// Looks for what is expected, and takes it out of the answer with all that stands before it.
    pub(super) fn is_answered(&self, answer: &mut Vec<u8>) -> bool {
        let at = answer.windows(self.expect.len()).position(|part| *part == *self.expect);
        at.is_some_and(|at| answer.drain(..at + self.expect.len()).len() > 0)
    }
}
