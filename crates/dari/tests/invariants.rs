//! What is deliberately absent from the source: the walls between the crates, as far as reading can tell.

use std::fs;
use std::path::{Path, PathBuf};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The lines of a crate's sources: file, line number, text. Without comments and without tests.
fn lines(name: &str) -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    let sources = crates().join(name).join("src");
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().unwrap() == "tests" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(&sources).unwrap().to_str().unwrap().to_owned();
            let code = text.lines().enumerate().take_while(|(_, line)| !line.contains("#[cfg(test)]"));
            for (i, line) in code {
                let line = line.split("//").next().unwrap().trim().to_owned();
                if !line.is_empty() {
                    lines.push((file.clone(), i + 1, line));
                }
            }
        }
    }
    assert!(lines.len() > 100, "{name} has sources");
    lines
}

/// That none of `words` stands anywhere but in `allowed` files.
#[track_caller]
fn only_in(allowed: &[&str], name: &str, words: &[&str]) {
    for (file, line, text) in lines(name) {
        for word in words {
            let is_there = text.contains(word) && !allowed.contains(&file.as_str());
            assert!(!is_there, "{name}/{file}:{line}: {word:?} stands in {text:?}");
        }
    }
}

/// The dependencies of a crate, those of its tests not among them.
fn dependencies(name: &str) -> Vec<String> {
    let text = fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.split(['=', '.', ' ']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

/// The names of the hooks, from where they are declared.
fn hooks() -> Vec<String> {
    let text = fs::read_to_string(crates().join("dari/src/handler.rs")).unwrap();
    let body = text.split("pub trait Handler {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let hooks: Vec<_> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next())
        .map(str::to_owned)
        .collect();
    assert!(hooks.len() >= 8 && hooks.iter().any(|name| name == "message"), "{hooks:?}");
    hooks
}

#[test]
fn only_deliver_calls_hooks_and_only_turn_the_functions_of_the_host() {
    let calls: Vec<String> = hooks().iter().map(|name| format!("handler.{name}(")).collect();
    let words: Vec<&str> = calls.iter().map(String::as_str).collect();
    only_in(&["deliver.rs"], "dari", &words);
    // Nobody else can: a handler is taken out there alone.
    only_in(&["deliver.rs"], "dari", &["handler.take()"]);
    only_in(&["turn.rs"], "dari", &[".fire(slot)", ".watch_ready(", ".call(&mut"]);
    only_in(&["deliver.rs", "handler.rs", "endpoint.rs", "dial.rs"], "dari", &["dyn Handler"]);
    let deliver: Vec<_> = lines("dari").into_iter().filter(|(file, ..)| file == "deliver.rs").collect();
    for call in calls {
        assert!(deliver.iter().any(|(_, _, text)| text.contains(&call)), "{call}..) is called by nobody");
    }
}

#[test]
fn only_sys_is_unsafe_in_the_loop_and_nothing_is_in_the_core() {
    only_in(&["sys.rs"], "dari", &["unsafe"]);
    let core = fs::read_to_string(crates().join("dari-core/src/lib.rs")).unwrap();
    assert!(core.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn the_core_has_no_clock_socket_thread_or_randomness() {
    let words = [
        "std::time",
        "Instant",
        "SystemTime",
        "std::thread",
        "std::fs",
        "std::env",
        "std::io",
        "std::os",
        "TcpStream",
        "UdpSocket",
        "std::process",
        "thread_local",
        "static mut",
        "getrandom",
        "RandomState",
        "HashMap",
        "HashSet",
        "println!",
        "eprintln!",
    ];
    only_in(&[], "dari-core", &words);
    // Addresses are text that is read, and no sockets.
    only_in(&["url.rs"], "dari-core", &["std::net"]);
    for no in ["mio", "libc", "socket2", "rand", "getrandom", "tokio", "rustls"] {
        assert!(!dependencies("dari-core").iter().any(|name| name == no), "dari-core depends on {no}");
    }
}

#[test]
fn only_the_loop_knows_mio_and_only_its_tls_knows_rustls() {
    for name in ["dari-core", "dari-ffi"] {
        let found = dependencies(name);
        assert!(!found.iter().any(|name| ["mio", "socket2", "rustls"].contains(&name.as_str())), "{name}: {found:?}");
        only_in(&[], name, &["mio::", "socket2::", "rustls::"]);
    }
    let tls = ["tls.rs", "tls/certs.rs", "tls/failure.rs", "tls/session.rs"];
    only_in(&tls, "dari", &["rustls", "webpki"]);
    for name in ["dari-core", "dari"] {
        only_in(&[], name, &["extern \"C\"", "no_mangle", "repr(C)", "c_char"]);
    }
}

#[test]
fn nothing_is_written_to_a_socket_that_could_raise_a_signal() {
    for (file, line, text) in lines("dari") {
        if text.contains("_with_flags(") {
            assert!(text.contains("MSG_NOSIGNAL"), "{file}:{line}: {text:?}");
        }
    }
    only_in(&["outbox.rs", "publish.rs", "door.rs", "dial.rs", "wire.rs"], "dari", &["_with_flags("]);
    only_in(
        &[],
        "dari",
        &["write_all(", "write_vectored(", "socket.send(", ".send_vectored(", "libc::write", "libc::send"],
    );
}

#[test]
fn nothing_is_done_that_was_not_asked_for() {
    let words = [
        "println!",
        "eprintln!",
        "print!",
        "dbg!",
        "process::exit",
        "process::abort",
        "thread::spawn",
        "libc::signal",
        "sigaction",
        "set_hook",
        "global_allocator",
        "std::io::std",
        "env::set",
        "set_current_dir",
    ];
    only_in(&[], "dari", &words);
    only_in(&[], "dari-core", &words);
    // For a proxy, if it is to be looked for there.
    only_in(&["dial.rs"], "dari", &["env::var"]);
    // The one thread, for names that are connected to.
    only_in(&["resolve.rs"], "dari", &["thread::Builder"]);
}
