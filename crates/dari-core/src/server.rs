//! The server's side until a connection is open: one HTTP request after another, each answered once.

use crate::body::BodyReader;
use crate::close::Failure;
use crate::deflate::Codec;
use crate::extension;
use crate::handshake;
use crate::head::Head;
use crate::http::{self, Answer, Request};
use crate::io::Io;
use crate::{Deflate, Limits, Misuse, Violation};

/// An exchange of request and answer.
#[derive(Debug, Default)]
pub(crate) struct Server {
    head: Head,
    request: Option<Request>,
    stage: Stage,
    /// No request is taken behind the next answer.
    is_last: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// A head is on its way.
    #[default]
    Head,
    /// The head is there, its body is on its way.
    Body(BodyReader),
    /// The request is whole and waits for its answer.
    Asked { upgrade: bool },
    /// The answer's head has gone out, pieces follow.
    Answering { answer: Answer, keep_alive: bool },
}

/// What a step of an exchange has brought.
pub(crate) enum Asked {
    Upgrade,
    Http,
}

/// Whether the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    NextRequest,
    End,
}

impl Server {
    /// Takes bytes of a request off the front of `input`, which lies `start` bytes into the peer's stream.
    pub(crate) fn take(
        &mut self,
        input: &mut &mut [u8],
        start: u64,
        limits: &Limits,
        io: &mut Io<'_>,
    ) -> Result<Option<Asked>, Failure> {
        let all = input.len();
        if let Stage::Head = self.stage {
            // A rule of the head as a whole is broken where the head begins.
            let head_start = start - self.head.len() as u64;
            let here = |violation| Failure { violation, offset: head_start };
            let at = |(violation, at)| Failure { violation, offset: start + at as u64 };
            let Some(text) = self.head.take(input, b"", limits, io).map_err(at)? else { return Ok(None) };
            let request = self.request.insert(Request::parse(text, limits, io).map_err(here)?);
            let framing = request.framing(limits).map_err(here)?;
            if handshake::is_upgrade(request) {
                if framing != http::Framing::None {
                    return Err(here(Violation::UpgradeWithBody));
                }
                handshake::check_upgrade(request, io.buffers).map_err(here)?;
                self.stage = Stage::Asked { upgrade: true };
                return Ok(Some(Asked::Upgrade));
            }
            let Some(reader) = BodyReader::new(framing) else {
                self.stage = Stage::Asked { upgrade: false };
                return Ok(Some(Asked::Http));
            };
            // RFC 9110 10.1.1: a client that waits for leave to send its body gets it.
            if !request.is_old() && request.has_token("expect", "100-continue") {
                io.out.buffer().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.stage = Stage::Body(reader);
        }
        if let (Stage::Body(reader), Some(request)) = (&mut self.stage, &mut self.request) {
            let whole = reader.take(input, &mut request.body, limits, io);
            let offset = start + (all - input.len()) as u64;
            if whole.map_err(|violation| Failure { violation, offset })? {
                self.stage = Stage::Asked { upgrade: false };
                return Ok(Some(Asked::Http));
            }
        }
        Ok(None)
    }

    /// The request that waits for an answer.
    pub(crate) fn asked(&self) -> Option<&Request> {
        match self.stage {
            Stage::Asked { .. } => self.request.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn asks_upgrade(&self) -> bool {
        matches!(self.stage, Stage::Asked { upgrade: true })
    }

    pub(crate) fn is_answering(&self) -> bool {
        matches!(self.stage, Stage::Answering { .. })
    }

    /// Whether input has to wait: an answer is due, and what follows belongs to whatever comes after it.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Asked { .. } | Stage::Answering { .. })
    }

    /// Whether nothing of a request is here: a kept-alive connection between two of them, or a new one.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Head) && self.head.len() == 0
    }

    /// Bytes of memory that a request has.
    pub(crate) fn held(&self) -> usize {
        self.head.held() + self.request.as_ref().map_or(0, Request::held)
    }

    pub(crate) fn keep_no_longer(&mut self) {
        self.is_last = true;
    }

    /// Appends the 101; the connection is open afterwards.
    pub(crate) fn accept(
        &mut self,
        protocol: Option<&str>,
        headers: &[(&str, &str)],
        wish: Option<&Deflate>,
        io: &mut Io<'_>,
    ) -> Result<Option<Codec>, Misuse> {
        let request = self.asked().ok_or(Misuse::NothingToAnswer)?;
        if !self.asks_upgrade() {
            return Err(Misuse::NotAnUpgrade);
        }
        let offers = request.values("sec-websocket-extensions");
        let (codec, extension) = wish
            .and_then(|wish| extension::answer(offers, wish).map(|(agreed, text)| (Codec::new(agreed, *wish), text)))
            .unzip();
        handshake::write_accept(request, protocol, extension.as_deref(), headers, io)?;
        Ok(codec)
    }

    /// Appends a whole answer.
    pub(crate) fn respond(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
        io: &mut Io<'_>,
    ) -> Result<After, Misuse> {
        let bodiless = matches!(status, 204 | 304);
        let answer = if bodiless { Answer::Bodiless } else { Answer::Length(body.len()) };
        let (head_only, keep_alive) = self.begin(status, headers, answer, io)?;
        if !head_only && !bodiless {
            io.out.payload(body);
        }
        Ok(self.end(keep_alive, io))
    }

    /// Appends the head of an answer whose body comes in pieces: `length` bytes in all, or as many as come.
    pub(crate) fn respond_begin(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        length: Option<usize>,
        io: &mut Io<'_>,
    ) -> Result<(), Misuse> {
        let is_old = self.asked().ok_or(Misuse::NothingToAnswer)?.is_old();
        let answer = match length {
            _ if matches!(status, 204 | 304) => Answer::Bodiless,
            Some(length) => Answer::Length(length),
            None if is_old => Answer::UntilEnd,
            None => Answer::Chunked,
        };
        let (head_only, keep_alive) = self.begin(status, headers, answer, io)?;
        let answer = if head_only { Answer::Bodiless } else { answer };
        self.stage = Stage::Answering { answer, keep_alive };
        Ok(())
    }

    /// Appends a piece of the body; an empty one is the end.
    pub(crate) fn respond_piece(&mut self, data: &[u8], io: &mut Io<'_>) -> Result<Option<After>, Misuse> {
        let Stage::Answering { answer, keep_alive } = self.stage else { return Err(Misuse::NothingToAnswer) };
        let mut keep_alive = keep_alive;
        match answer {
            Answer::Bodiless => {}
            Answer::Chunked => http::write_chunk(io.out, data),
            Answer::UntilEnd => io.out.payload(data),
            Answer::Length(left) => {
                let left = left.checked_sub(data.len()).ok_or(Misuse::TooLong(data.len(), left))?;
                io.out.payload(data);
                self.stage = Stage::Answering { answer: Answer::Length(left), keep_alive };
                // Less than was announced: only the end of the connection can tell.
                keep_alive &= left == 0;
            }
        }
        Ok(data.is_empty().then(|| self.end(keep_alive, io)))
    }

    pub(crate) fn release(&mut self, io: &mut Io<'_>) {
        self.head.release(io);
        if let Some(request) = self.request.take() {
            request.release(io);
        }
    }

    /// Appends an answer's head. What it returns: no body may follow, and whether another request may.
    fn begin(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        answer: Answer,
        io: &mut Io<'_>,
    ) -> Result<(bool, bool), Misuse> {
        let request = self.asked().ok_or(Misuse::NothingToAnswer)?;
        http::check_answer(status, headers)?;
        // Behind an opening handshake that was refused, frames may follow: they are no requests.
        let upgrade = self.asks_upgrade();
        let keep_alive = request.keeps_alive() && answer != Answer::UntilEnd && !upgrade && !self.is_last;
        http::write_head(io.out, status, headers, answer, keep_alive);
        Ok((request.method() == "HEAD", keep_alive))
    }

    fn end(&mut self, keep_alive: bool, io: &mut Io<'_>) -> After {
        std::mem::take(self).release(io);
        if keep_alive { After::NextRequest } else { After::End }
    }
}
