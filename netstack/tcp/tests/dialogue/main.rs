//! Dialogues with the engine: send this, expect that. Modules are named after the RFC whose sections their tests are.

mod harness;
mod script;

mod bad_input;
mod memory;
mod rfc2883_dsack;
mod rfc5682_f_rto;
mod rfc5961_blind_attacks;
mod rfc6298_retransmission;
mod rfc7323_timestamps;
mod rfc8899_path_mtu;
mod rfc9293_appendix_b;
mod rfc9293_closing;
mod rfc9293_data;
mod rfc9293_opening;
mod rfc9293_window;
mod sack_recovery;
mod second_coming;
mod source_ports;
mod splice;
mod syn_cache;
mod time_wait;
