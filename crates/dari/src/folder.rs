//! A folder of files on the same port: GET and HEAD, content types, ETag, and no way out of it.

use crate::cause::End;
use crate::conn::Flag;
use crate::{ConnId, Error, Net, Sent};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that are read of a file at a time.
const PIECE: usize = 64 << 10;
/// Bytes of a request's path that names a file.
const MOST_PATH: usize = 4 << 10;

/// A file on its way to a peer.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: File,
    left: u64,
}

impl Net {
    /// Serves a request from the listener's folder, if it has one and the file is there. Whether it did.
    pub(crate) fn serve_file(&mut self, conn: ConnId, slot: u32) -> bool {
        let Some(found) = self.look_up(slot) else { return false };
        let Found { file, metadata, kind, head_only } = found;
        let etag = etag(&metadata);
        let tags = self.request(conn).and_then(|request| request.header("if-none-match", 0));
        let tags = tags.and_then(|tags| str::from_utf8(tags).ok()).unwrap_or_default();
        let matches = tags.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*");
        let headers = [("Content-Type", kind), ("ETag", etag.as_str()), ("Cache-Control", "no-cache")];
        if matches {
            return self.respond(conn, 304, &headers[1..], &[]).is_ok();
        }
        let len = metadata.len();
        let Ok(length) = usize::try_from(len) else { return false };
        if self.respond_begin_with(conn, 200, &headers, Some(length)).is_err() {
            return false;
        }
        if head_only || len == 0 {
            return self.respond_piece(conn, &[]).is_ok();
        }
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.rare().file = Some(FileBody { file, left: len });
        }
        self.pump_file(slot);
        true
    }

    /// Reads on in the file that is being served, as far as the peer's queue has room.
    pub(crate) fn pump_file(&mut self, slot: u32) {
        let id = ConnId(self.conns.id(slot));
        let most = self.endpoint_of(slot).map_or(0, |at| at.limits.max_backlog);
        // With less room than that a piece would be refused, and lost.
        while self.queued(slot) < most
            && let Some(mut body) = self.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.file.take())
        {
            let len = PIECE.min(usize::try_from(body.left).unwrap_or(PIECE));
            let mut piece = Vec::new();
            if piece.try_reserve_exact(len).is_err() {
                // Something of it has left already.
                return self.end(slot, End::out_of_memory(&self.buffers));
            }
            piece.resize(len, 0);
            let got = body.file.read(&mut piece).unwrap_or(0);
            if got == 0 {
                // It has become shorter than its head said: only the end of the connection tells the peer.
                let _ = self.abort(id);
                return;
            }
            body.left -= got as u64;
            let sent = self.respond_piece(id, piece.get(..got).unwrap_or_default());
            let Some(conn) = self.conns.get_mut(slot) else { return };
            // The host has sent nothing, and is owed no `drain`.
            conn.set(Flag::OwesDrain, false);
            if body.left == 0 {
                let _ = self.respond_piece(id, &[]);
                return;
            }
            conn.rare().file = Some(body);
            match sent {
                Ok(Sent::Done) => {}
                // `settle` comes back when the queue has gone down.
                Ok(Sent::Buffered) | Err(_) => return,
            }
        }
    }

    /// What stands for a file that is not there, or a request that nobody wants: 404, 405 or 426.
    pub fn respond_default(&mut self, conn: ConnId) {
        let has_folder =
            self.find(conn).ok().and_then(|slot| self.endpoint_of(slot)).is_some_and(|at| at.how.folder.is_some());
        let wants_file = self.request(conn).is_some_and(|request| matches!(request.method(), "GET" | "HEAD"));
        let plain = ("Content-Type", "text/plain; charset=utf-8");
        let result = match (has_folder, wants_file) {
            (true, true) => self.respond(conn, 404, &[plain], b"There is no such file here.\n"),
            (true, false) => {
                self.respond(conn, 405, &[plain, ("Allow", "GET, HEAD")], b"Files are read with GET and HEAD.\n")
            }
            (false, _) => {
                self.respond(conn, 426, &[plain], b"This is a WebSocket server: it wants an opening handshake.\n")
            }
        };
        // Answered already, or gone: either way there is nothing left to do.
        result.unwrap_or_default();
    }

    fn look_up(&self, slot: u32) -> Option<Found> {
        let conn = self.conns.get(slot)?;
        let root = self.endpoint_of(slot)?.how.folder.as_ref()?;
        let request = conn.core.request()?;
        let head_only = match request.method() {
            "GET" => false,
            "HEAD" => true,
            _ => return None,
        };
        let path = request.target().split('?').next()?;
        let (file, path) = open(root, path)?;
        let metadata = file.metadata().ok()?;
        Some(Found { file, metadata, kind: content_type(&path), head_only })
    }
}

struct Found {
    file: File,
    metadata: Metadata,
    kind: &'static str,
    head_only: bool,
}

/// Checks that a folder is one, and names it without links and dots.
pub(crate) fn check(folder: &Path) -> Result<PathBuf, Error> {
    let what = format!("the folder {}", folder.display());
    let folder = folder.canonicalize().map_err(|error| Error::system(what.clone(), &error))?;
    if folder.is_dir() { Ok(folder) } else { Err(Error::Argument(format!("{what} is not a folder"))) }
}

/// Opens what a request's path names below `root`; `index.html` for a folder. Names that begin with a dot do not
/// exist, and what a link leads out to does not either.
fn open(root: &Path, path: &str) -> Option<(File, PathBuf)> {
    // The system has no longer paths, and what comes of one is as long as it.
    if path.len() > MOST_PATH {
        return None;
    }
    let mut place = root.to_owned();
    for part in path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()) {
        let name = decode(part)?;
        if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return None;
        }
        place.push(name);
    }
    if path.ends_with('/') {
        place.push("index.html");
    }
    let place = place.canonicalize().ok().filter(|place| place.starts_with(root))?;
    // Opening a pipe would wait for its other end.
    place.metadata().ok().filter(Metadata::is_file)?;
    Some((File::open(&place).ok()?, place))
}

/// Percent-decodes one part of a path (RFC 3986 2.1).
fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn etag(metadata: &Metadata) -> String {
    format!("\"{:x}-{:x}-{:x}\"", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn content_type(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/vnd.microsoft.icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let root = std::env::temp_dir().join(format!("dari-folder-{}", std::process::id()));
        let inside = root.join("in");
        std::fs::create_dir_all(inside.join("sub")).unwrap();
        std::fs::write(root.join("secret"), "no").unwrap();
        std::fs::write(inside.join("index.html"), "yes").unwrap();
        std::fs::write(inside.join("한 글.txt"), "yes").unwrap();
        std::fs::write(inside.join(".hidden"), "no").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
        let inside = check(&inside).unwrap();
        let there = |path: &str| open(&inside, path).is_some_and(|(file, _)| file.metadata().unwrap().is_file());
        assert!(there("/") && there("/index.html") && there("//index.html") && there("/%ED%95%9C%20%EA%B8%80.txt"));
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/sub/../../secret",
            "/link",
            "/.hidden",
            "/%2ehidden",
            "/index.html%00",
            "/..\\secret",
            "/sub",
            "/nothing",
            "",
            "*",
            "/%zz",
            "/%f",
        ] {
            assert!(!there(path), "{path}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
