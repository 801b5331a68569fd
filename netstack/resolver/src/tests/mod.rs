//! Dialogues with DNS servers, on a clock that jumps.

mod answers;
mod dialogue;
mod stream;
mod wire;
