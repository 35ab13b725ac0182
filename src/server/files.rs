//! Serves the files of a folder, with type, length and modification date, and none outside of it.

use crate::net::beneath::Beneath;
use crate::net::date;
use crate::net::sys::errno;
use crate::proto::http::Request;
use crate::proto::path;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder that is served.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: Arc<Beneath>,
}

/// Files up to this size are read whole and closed again, so they need no lease.
const SHORT_BYTES: u64 = 64 << 10;

/// Takes a lease for a long file, if one is free; see [`super::leases::Leases`].
pub(super) trait Lease: FnOnce() -> Option<Arc<()>> {}

impl<F: FnOnce() -> Option<Arc<()>>> Lease for F {}

/// The result of a request for a file.
#[derive(Debug)]
pub(super) enum Found {
    /// A long file. The lease is held as long as the file is open.
    File { file: File, bytes: u64, content_type: String, fields: String, lease: Arc<()> },
    /// The whole content of a short file.
    Content { content: Vec<u8>, content_type: String, fields: String },
    /// No file is sent; the status says why.
    Nothing { status: u16, fields: String },
}

impl Found {
    fn nothing(status: u16, fields: impl Into<String>) -> Self {
        Self::Nothing { status, fields: fields.into() }
    }
}

impl Files {
    /// Opens the folder.
    ///
    /// # Errors
    /// As open(2) and openat(2).
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::open(folder)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { folder: Arc::new(Beneath::new(file.into())?) })
    }

    /// Finds the file that `path` names: the part of the request's path after that of the route. `today` is the Date of the
    /// response.
    pub(super) fn find(&self, path: &str, request: &Request<'_>, today: &str, lease: impl Lease) -> Found {
        let Ok(mut name) = percent_encoding::percent_decode_str(path).decode_utf8().map(|name| name.into_owned())
        else {
            return Found::nothing(404, "");
        };
        // Dot files are private, on any level.
        if name.contains('\0') || name.split('/').any(|part| part.starts_with('.')) {
            return Found::nothing(404, "");
        }
        let is_folder = name.is_empty() || name.ends_with('/');
        if is_folder {
            name.push_str("index.html");
        }
        match self.folder.open(OsStr::new(name.trim_start_matches('/'))) {
            Ok(file) => found(file.into(), &name, is_folder, (request, today), lease),
            // EAGAIN: a rename interfered with openat2(2).
            Err(error) if matches!(error.raw_os_error(), Some(errno::EMFILE | errno::ENFILE | errno::EAGAIN)) => {
                Found::nothing(503, "Retry-After: 1\r\n")
            }
            Err(_) => Found::nothing(404, ""),
        }
    }
}

/// Decides how to respond with an open file. `is_index` is set if the request named its folder.
fn found(
    mut file: File,
    name: &str,
    is_index: bool,
    (request, today): (&Request<'_>, &str),
    lease: impl Lease,
) -> Found {
    let Ok(about) = file.metadata() else { return Found::nothing(404, "") };
    let path = request.path();
    if about.is_dir() && !is_index && !path.starts_with("//") {
        // Relative links of the index page resolve below the folder only if its path ends with a slash (RFC 3986 section 5.2.3).
        return Found::nothing(301, format!("Location: {}/\r\n", path::encode(path)));
    }
    if !about.is_file() {
        return Found::nothing(404, "");
    }
    // A time before 1970 cannot be written as a date, so it is neither sent nor compared.
    let (bytes, modified) = (about.len(), about.modified().ok().filter(|time| *time >= UNIX_EPOCH));
    let fields = format!("{}X-Content-Type-Options: nosniff\r\n", last_modified(modified, today));
    if !is_as_wanted(request, modified) {
        return Found::nothing(412, "");
    }
    if is_known(request, modified) {
        return Found::nothing(304, fields);
    }
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let charset = if guess.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
    let content_type = format!("{guess}{charset}");
    if bytes <= SHORT_BYTES {
        let mut content = Vec::with_capacity(bytes as usize);
        return match (&mut file).take(SHORT_BYTES).read_to_end(&mut content) {
            Ok(_) => Found::Content { content, content_type, fields },
            Err(_) => Found::nothing(404, ""),
        };
    }
    match lease() {
        Some(lease) => Found::File { file, bytes, content_type, fields, lease },
        None => Found::nothing(503, "Retry-After: 1\r\n"),
    }
}

/// Returns the field Last-Modified (RFC 9110 section 8.8.2). A time in the future is replaced by the Date of the response
/// (section 8.8.2.1), so a year after 9999 is never written.
fn last_modified(modified: Option<SystemTime>, today: &str) -> String {
    let is_future = |time| date::parse(today).is_some_and(|today| !date::is_until(time, today));
    let written = match modified {
        Some(time) if is_future(time) => Some(today.to_owned()),
        Some(time) => date::format(time),
        None => None,
    };
    written.map_or_else(String::new, |date| format!("Last-Modified: {date}\r\n"))
}

/// Whether the client already has the version of `modified` (RFC 9110 section 13.1.3).
fn is_known(request: &Request<'_>, modified: Option<SystemTime>) -> bool {
    is_until(modified, request, "if-modified-since").unwrap_or(false)
        && request.fields.values("if-none-match").next().is_none()
}

/// Whether the preconditions If-Match and If-Unmodified-Since hold (RFC 9110 section 13.2.2). No file has an entity tag.
fn is_as_wanted(request: &Request<'_>, modified: Option<SystemTime>) -> bool {
    let mut tags = request.fields.values("if-match").peekable();
    if tags.peek().is_some() {
        return tags.all(|tag| tag == b"*");
    }
    is_until(modified, request, "if-unmodified-since").unwrap_or(true)
}

/// Whether `modified` is no later than the date in a field of the request. Returns `None`, so that the condition is ignored,
/// if either is not a valid date (RFC 9110 sections 13.1.3 and 13.1.4).
fn is_until(modified: Option<SystemTime>, request: &Request<'_>, field: &str) -> Option<bool> {
    let text = std::str::from_utf8(request.fields.values(field).next()?).ok()?;
    Some(date::is_until(modified?, date::parse(text)?))
}
