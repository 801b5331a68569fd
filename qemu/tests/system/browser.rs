//! A browser loads a page through the balancer, with everything that a page has.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use weir_host::tether;

use crate::daemon::nginx;
use crate::peers::needs;
use crate::proxy::{PORTS, balancer};
use crate::serve::boot_two;
use crate::{Tested, Tests, ensure, metrics};

pub const TESTS: Tests = &[("browser::a_page_loads_whole", a_page_loads_whole)];

const IMAGES: usize = 20;

/// Bytes that the page's script posts.
const POSTED: usize = 100_000;

/// Says in the document what has been loaded.
const SCRIPT: &str = "
onload = async () => {
    const images = [...document.images].filter(image => image.naturalWidth == 100).length;
    const width = getComputedStyle(document.body).width;
    const answer = await fetch('/post', { method: 'POST', body: 'x'.repeat(POSTED) });
    document.body.append(`loaded: ${images} images, ${width} wide, ${await answer.text()} bytes posted`);
};
";

/// A black square of 100 × 100 pixels, three bytes each.
fn image() -> Vec<u8> {
    let pixels: u32 = 100 * 100 * 3;
    let mut bytes = b"BM".to_vec();
    for word in [54 + pixels, 0, 54, 40, 100, 100, 1 | 24 << 16, 0, pixels, 0, 0, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(bytes.len() + pixels as usize, 0);
    bytes
}

fn write_page(root: &Path) -> Tested {
    let images: String = (0..IMAGES).map(|n| format!("<img src=\"/{n}.bmp\">")).collect();
    let page = format!(
        "<!doctype html><link rel=stylesheet href=\"/style.css\"><script src=\"/script.js\"></script><body>{images}"
    );
    fs::write(root.join("index.html"), page)?;
    fs::write(root.join("style.css"), "body { width: 321px }")?;
    fs::write(root.join("script.js"), SCRIPT.replace("POSTED", &POSTED.to_string()))?;
    for n in 0..IMAGES {
        fs::write(root.join(format!("{n}.bmp")), image())?;
    }
    Ok(())
}

fn a_page_loads_whole() -> Tested {
    needs("chromium", "there is no chromium")?;
    let root = tempfile::tempdir()?;
    write_page(root.path())?;
    let (mut guest, tap) = boot_two(|tap| balancer(tap, &PORTS))?;
    let location = "types { text/html html; text/css css; text/javascript js; image/bmp bmp; } \
                    location / { root ROOT; } location /post { return 200 $content_length; }";
    let start = |port: u16| nginx(SocketAddrV4::new(tap.host(), port), root.path(), location);
    let _servers = [start(PORTS[0])?, start(PORTS[1])?];
    let profile = tempfile::tempdir()?;
    // Its own time stands still while it waits for the network, and its budget ends when the page has nothing more to do.
    let output = tether::command("chromium", None)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{}/", tap.at(80)))
        .env("HOME", profile.path())
        .output()?;
    let dom = String::from_utf8_lossy(&output.stdout);
    let wanted = format!("loaded: {IMAGES} images, 321px wide, {POSTED} bytes posted");
    ensure(dom.contains(&wanted), || {
        let said = String::from_utf8_lossy(&output.stderr);
        guest.report(&format!("{dom}\n{said}\n{}", metrics::incidents(tap.at(9000)))).to_string()
    })?;
    guest.still_runs()
}
