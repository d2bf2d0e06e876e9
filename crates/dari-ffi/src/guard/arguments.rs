//! Arguments and outputs: C's pointers, read and written.
//!
//! What is wrong with an argument is found here, before anything has changed, and said with its name. No loop is
//! touched here. What a C caller promises about a pointer stands at the top of `guard`, and is meant by "promised".

use crate::settings::*;
use crate::stats::{dari_past_t, dari_stats_t};
use crate::status::{DARI_ERR_ARGUMENT, Refusal};
use crate::types::*;
use dari::{Kind, Message, Squeeze};
use std::borrow::Cow;
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

pub(crate) fn argument(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(DARI_ERR_ARGUMENT, text)
}

#[cold]
pub(crate) fn null(name: &str) -> Refusal {
    argument(format!("{name} is NULL"))
}

/// A shared object of C's: a remote, a payload.
pub(crate) fn shared<'a, T>(name: &str, pointer: *const T) -> Result<&'a T, Refusal> {
    optional_shared(pointer).ok_or_else(|| null(name))
}

/// The same, with nothing to say about NULL: for a signal handler, which may not allocate.
pub(crate) fn optional_shared<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: promised.
    unsafe { pointer.as_ref() }
}

/// A list of `count` shared objects of C's.
pub(crate) fn shared_list<'a, T>(name: &str, list: *const *mut T, count: usize) -> Result<Vec<&'a T>, Refusal> {
    /// More than there are loops.
    const MOST: usize = 65_536;
    match (list.is_null(), count) {
        (_, 0) => return Ok(Vec::new()),
        (true, _) => return Err(argument(format!("{name} is NULL, but there are to be {count}"))),
        (false, _) if count > MOST => return Err(argument(format!("{count} {name} are more than {MOST}"))),
        (false, _) => {}
    }
    // SAFETY: promised.
    let list = unsafe { std::slice::from_raw_parts(list, count) }.iter().enumerate();
    list.map(|(at, pointer)| optional_shared(*pointer).ok_or_else(|| null(&format!("{name}[{at}]")))).collect()
}

/// Gives an object to C, which will free it.
pub(crate) fn give<T>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Takes an object back that `give` gave, and drops it.
pub(crate) fn take_back<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: `give` made it, and C frees an object once. A panic in its drop stops here.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(object) })));
    }
}

/// A place for an output that must be there; `value` is what it holds if the call fails.
pub(crate) fn output<'a, T>(name: &str, place: *mut T, value: T) -> Result<&'a mut T, Refusal> {
    if place.is_null() {
        return Err(null(name));
    }
    put(place, value);
    // SAFETY: promised; just written, so it is initialised.
    Ok(unsafe { &mut *place })
}

/// Writes an output that C may not want.
pub(crate) fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: promised.
        unsafe { place.write(value) }
    }
}

/// Writes text and a NUL into C's buffer, which has room for them.
pub(crate) fn put_text(buffer: *mut c_char, text: &str) {
    // SAFETY: the caller has compared the buffer's size.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, text.len());
        buffer.add(text.len()).write(0);
    }
}

/// Writes bytes into C's buffer, which has room for them.
pub(crate) fn put_bytes(buffer: *mut c_void, bytes: &[u8]) {
    if !bytes.is_empty() {
        // SAFETY: the caller has compared the buffer's size.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), bytes.len()) }
    }
}

/// Bytes of C.
#[inline]
pub(crate) fn bytes<'a>(name: &str, data: *const c_void, len: usize) -> Result<&'a [u8], Refusal> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(no_bytes(name, len)),
        (false, _) if isize::try_from(len).is_err() => Err(no_length(len)),
        // SAFETY: promised.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) }),
    }
}

#[cold]
fn no_bytes(name: &str, len: usize) -> Refusal {
    argument(format!("{name} is NULL, but its length is {len}"))
}

#[cold]
fn no_length(len: usize) -> Refusal {
    argument(format!("a length of {len} is no length"))
}

/// A message of C, and whether it is to be compressed.
#[inline]
pub(crate) fn message<'a>(
    kind: dari_kind_t,
    data: *const c_void,
    len: usize,
) -> Result<(Message<'a>, Squeeze), Refusal> {
    let squeeze = match (kind & DARI_COMPRESS != 0, kind & DARI_PLAIN != 0) {
        (false, false) => Squeeze::Auto,
        (true, false) => Squeeze::Yes,
        (false, true) => Squeeze::No,
        (true, true) => return Err(argument("kind has both DARI_COMPRESS and DARI_PLAIN")),
    };
    Ok((part(kind & !(DARI_COMPRESS | DARI_PLAIN), data, len)?, squeeze))
}

#[cold]
fn no_kind(kind: dari_kind_t) -> Refusal {
    argument(format!("kind {kind} is neither DARI_TEXT nor DARI_BINARY"))
}

/// A message of C without flags; nothing where anything is wrong with it, which `message` tells.
#[inline]
pub(crate) fn plain<'a>(kind: dari_kind_t, data: *const c_void, len: usize) -> Option<Message<'a>> {
    let kind = match kind {
        DARI_TEXT => Kind::Text,
        DARI_BINARY => Kind::Binary,
        _ => return None,
    };
    if data.is_null() || isize::try_from(len).is_err() {
        return None;
    }
    // SAFETY: promised.
    Some(Message { kind, data: unsafe { std::slice::from_raw_parts(data.cast(), len) } })
}

/// A part of a message of C, which is never compressed.
pub(crate) fn part<'a>(kind: dari_kind_t, data: *const c_void, len: usize) -> Result<Message<'a>, Refusal> {
    let kind = match kind {
        DARI_TEXT => Kind::Text,
        DARI_BINARY => Kind::Binary,
        _ => return Err(no_kind(kind)),
    };
    Ok(Message { kind, data: bytes("data", data, len)? })
}

/// Text of C, up to its NUL.
pub(crate) fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Refusal> {
    optional_text(name, text)?.ok_or_else(|| null(name))
}

/// Text of C that may be NULL.
pub(crate) fn optional_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Refusal> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: promised.
    let text = unsafe { CStr::from_ptr(text) };
    let bad = |at| argument(format!("{name} is not UTF-8, from byte {at} on"));
    text.to_str().map(Some).map_err(|error| bad(error.valid_up_to()))
}

/// A path of C.
pub(crate) fn path<'a>(name: &str, path: *const c_char) -> Result<&'a OsStr, Refusal> {
    optional_path(path).ok_or_else(|| null(name))
}

/// A path of C that may be NULL. Paths are bytes.
pub(crate) fn optional_path<'a>(path: *const c_char) -> Option<&'a OsStr> {
    // SAFETY: promised.
    (!path.is_null()).then(|| OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

/// A list of texts that a NULL ends; the list may be NULL.
pub(crate) fn optional_list(name: &str, list: *const *const c_char) -> Result<Option<Vec<String>>, Refusal> {
    /// More than anybody has; a list without its NULL is likelier.
    const MOST: usize = 1_000;
    if list.is_null() {
        return Ok(None);
    }
    let mut texts = Vec::new();
    for at in 0..MOST {
        // SAFETY: promised; everything before was not the end.
        match optional_text(&format!("{name}[{at}]"), unsafe { *list.add(at) })? {
            Some(text) => texts.push(text.to_owned()),
            None => return Ok(Some(texts)),
        }
    }
    Err(argument(format!("{name} has more than {MOST} entries: no NULL ends it")))
}

/// Header lines of C.
pub(crate) fn headers<'a>(headers: *const dari_header_t, count: usize) -> Result<Vec<(&'a str, &'a str)>, Refusal> {
    /// More than any peer would take.
    const MOST: usize = 10_000;
    if count == 0 {
        return Ok(Vec::new());
    }
    if headers.is_null() {
        return Err(argument(format!("headers is NULL, but there are to be {count}")));
    }
    if count > MOST {
        return Err(argument(format!("{count} headers are more than {MOST}")));
    }
    // SAFETY: promised.
    let lines = unsafe { std::slice::from_raw_parts(headers, count) }.iter().enumerate();
    lines
        .map(|(at, line)| {
            let name = text(&format!("headers[{at}].name"), line.name)?;
            Ok((name, text(&format!("headers[{at}].value"), line.value)?))
        })
        .collect()
}

/// A struct that C fills and that may grow at its end.
///
/// # Safety
///
/// It is `repr(C)`, begins with `struct_size: usize`, and any bytes that C can put into its fields are a value of it,
/// zeros included.
pub(crate) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// Its size in the first release that had it.
    const FIRST: usize;
}

macro_rules! versioned {
    ($($name:ident: $words:literal words $(and $bytes:literal bytes)?;)*) => {$(
        // SAFETY: integers, pointers and `Option<fn>` in a `repr(C)` struct, `struct_size` first; see `types`.
        unsafe impl Versioned for $name {
            const NAME: &'static str = stringify!($name);
            const FIRST: usize = $words * size_of::<usize>() $(+ $bytes)?;
        }
    )*};
}

versioned! {
    dari_loop_config_t: 2 words;
    dari_handler_t: 10 words;
    dari_limits_t: 7 words and 16 bytes;
    dari_listen_t: 5 words;
    dari_connect_t: 6 words;
    dari_stats_t: 1 words and 608 bytes;
    dari_past_t: 9 words and 80 bytes;
}

/// The size that C has given to a struct.
fn struct_size<T: Versioned>(pointer: *const T) -> Result<usize, Refusal> {
    /// A larger struct_size was never set.
    const MOST: usize = 4_096;
    // SAFETY: the promise of the trait; promised.
    let size = unsafe { pointer.cast::<usize>().read() };
    if (T::FIRST..=MOST).contains(&size) {
        return Ok(size);
    }
    let (name, known) = (T::NAME, size_of::<T>());
    Err(argument(format!("struct_size of a {name} is {size}; set it to sizeof({name}), {known} here")))
}

/// Fills a struct of C, of whatever version: as much of it as C has room for.
pub(crate) fn fill<T: Versioned>(name: &str, place: *mut T, value: impl FnOnce(usize) -> T) -> Result<(), Refusal> {
    if place.is_null() {
        return Err(null(name));
    }
    let size = struct_size(place)?;
    let (value, room) = (value(size), size.min(size_of::<T>()));
    // SAFETY: the caller says that the struct has `size` bytes; `types` excludes padding.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(&value).cast::<u8>(), place.cast(), room) };
    Ok(())
}

/// A struct of C, of whatever version: what it does not have is zero, what it has more must be zero.
pub(crate) fn versioned<T: Versioned>(pointer: *const T) -> Result<Option<T>, Refusal> {
    if pointer.is_null() {
        return Ok(None);
    }
    let (name, known) = (T::NAME, size_of::<T>());
    let size = struct_size(pointer)?;
    // SAFETY: the caller says that the struct has `size` bytes. They are read as C wrote them, padding excluded by
    // `types`, and zeros are a value by the promise of the trait.
    unsafe {
        let more = std::slice::from_raw_parts(pointer.cast::<u8>().add(known.min(size)), size - known.min(size));
        if let Some(at) = more.iter().position(|byte| *byte != 0) {
            let why = format!("byte {} of a {name} is set, which this version does not know", known + at);
            return Err(argument(why));
        }
        let mut value = std::mem::zeroed::<T>();
        ptr::copy_nonoverlapping(pointer.cast::<u8>(), ptr::from_mut(&mut value).cast(), known.min(size));
        Ok(Some(value))
    }
}
