//! Who wins, and what is said of the others.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::{Decision, Offer, Source, decide};

const NAMES: [&str; 4] = ["kernel command line", "fw_cfg", "cidata disk", "image"];

/// A configuration whose one listener has this name.
fn config(name: &str) -> String {
    format!("[[listener]]\nname = \"{name}\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npage = \"demo\"\n")
}

fn good(name: &str) -> Offer<'static> {
    Offer::Text(config(name).into_bytes().into())
}

fn bad() -> Offer<'static> {
    Offer::Text(config("web").replace("[[listener.route]]", "bnid = 1\n[[listener.route]]").into_bytes().into())
}

fn decide_among(offers: [Offer<'static>; 4]) -> Decision {
    let sources = NAMES.into_iter().zip(offers).map(|(name, offer)| Source { name, offer });
    decide(&sources.collect::<Vec<_>>())
}

/// The name of the listener of the configuration that holds.
fn winner(decision: &Decision) -> Option<&str> {
    decision.config.as_ref().map(|config| config.listeners[0].name.as_str())
}

#[test]
fn of_any_sources_the_last_one_wins() {
    let names = ["a", "b", "c", "d"];
    for present in 0_u8..16 {
        let offer = |place: usize| if present >> place & 1 == 1 { good(names[place]) } else { Offer::Absent };
        let decision = decide_among([0, 1, 2, 3].map(offer));
        let first = (0..4).find(|place| present >> place & 1 == 1);
        assert_eq!(winner(&decision), first.map(|place| names[place]), "{present:04b}");
        assert!(decision.complaints.is_empty());
        let expected = first.map_or("no source has one", |place| NAMES[place]);
        assert!(decision.summary.starts_with(expected), "{}", decision.summary);
    }
}

#[test]
fn the_summary_says_what_became_of_each() {
    let decision = decide_among([Offer::Absent, bad(), good("disk"), good("image")]);
    let bytes = config("disk").len();
    let expected = format!("cidata disk, {bytes} bytes (kernel command line absent, fw_cfg invalid, image overruled)");
    assert_eq!(decision.summary, expected);
    assert!(decision.told().starts_with(&format!("{expected}\nfw_cfg:4:1: ")), "{}", decision.told());
    let decision = decide_among([Offer::Unreadable("no base64".into()), Offer::Absent, Offer::Absent, bad()]);
    let expected =
        "no source has one (kernel command line unreadable, fw_cfg absent, cidata disk absent, image invalid)";
    assert_eq!(decision.summary, expected);
    assert_eq!(decision.complaints[0], "kernel command line: no base64");
    assert!(decision.config.is_none());
}

#[test]
fn what_is_wrong_has_a_place_and_the_next_best_holds() {
    for place in 0..3 {
        let mut offers = [(); 4].map(|()| Offer::Absent);
        offers[place] = bad();
        offers[3] = good("image");
        let decision = decide_among(offers);
        assert_eq!(winner(&decision), Some("image"));
        let start = format!("{}:4:1: ", NAMES[place]);
        assert!(decision.complaints[0].starts_with(&start), "{:?}", decision.complaints);
        assert!(decision.complaints[1].starts_with("help: "), "{:?}", decision.complaints);
    }
}

#[test]
fn what_is_for_cloud_init_or_no_text_is_said() {
    let cloud = ["#cloud-config\n", &config("web")].concat();
    let decision = decide_among([
        Offer::Text(b"\xff".as_slice().into()),
        Offer::Absent,
        Offer::Text(cloud.into_bytes().into()),
        good("image"),
    ]);
    let said = decision.complaints.join("\n");
    assert!(said.contains("kernel command line: not UTF-8 at byte 0"), "{said}");
    assert!(said.contains("cidata disk:1:1: #cloud-config is for cloud-init"), "{said}");
    assert_eq!(winner(&decision).map(ToString::to_string), Some("image".into()));
}
