//! Files of a folder, as they are asked for: with type, length and date, and no way out of the folder.

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

/// Files up to this size are read at once, and closed again.
const SHORT_BYTES: u64 = 64 << 10;

/// Takes a lease for a long file, if there is one; see [`super::leases::Leases`].
pub(super) trait Lease: FnOnce() -> Option<Arc<()>> {}

impl<F: FnOnce() -> Option<Arc<()>>> Lease for F {}

/// What becomes of a request for a file.
#[derive(Debug)]
pub(super) enum Found {
    /// It is this one, so long, with these fields. As long as it is open, the lease is to be held.
    File { file: File, bytes: u64, content_type: String, fields: String, lease: Arc<()> },
    /// It is a short one, and this is all of it.
    Content { content: Vec<u8>, content_type: String, fields: String },
    /// There is none to be sent, for this reason.
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

    /// Finds what `path`, as it stands in the request behind the route's own, names; `today` is the answer's own date.
    pub(super) fn find(&self, path: &str, request: &Request<'_>, today: &str, lease: impl Lease) -> Found {
        let Ok(mut name) = percent_encoding::percent_decode_str(path).decode_utf8().map(|name| name.into_owned())
        else {
            return Found::nothing(404, "");
        };
        // A name that begins with a dot is not for everyone, on any level.
        if name.contains('\0') || name.split('/').any(|part| part.starts_with('.')) {
            return Found::nothing(404, "");
        }
        let is_folder = name.is_empty() || name.ends_with('/');
        if is_folder {
            name.push_str("index.html");
        }
        match self.folder.open(OsStr::new(name.trim_start_matches('/'))) {
            Ok(file) => found(file.into(), &name, is_folder, (request, today), lease),
            // EAGAIN: something was renamed while it was looked for.
            Err(error) if matches!(error.raw_os_error(), Some(errno::EMFILE | errno::ENFILE | errno::EAGAIN)) => {
                Found::nothing(503, "Retry-After: 1\r\n")
            }
            Err(_) => Found::nothing(404, ""),
        }
    }
}

/// Finds out what becomes of a request for an open file: `is_index` where the name of a folder led to it.
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
        // A link that is relative in its page has to be below the folder; RFC 9110 section 15.4.2.
        return Found::nothing(301, format!("Location: {}/\r\n", path::encode(path)));
    }
    if !about.is_file() {
        return Found::nothing(404, "");
    }
    // A time before 1970 has no date, so there is none to tell or to compare.
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

/// The field Last-Modified (RFC 9110 section 8.8.2). A time in the future is replaced by that of the answer (section
/// 8.8.2.1), so no year from 10000 on is written unless the clock has one too.
fn last_modified(modified: Option<SystemTime>, today: &str) -> String {
    let is_future = |time| date::parse(today).is_some_and(|today| !date::is_until(time, today));
    let written = match modified {
        Some(time) if is_future(time) => Some(today.to_owned()),
        Some(time) => date::format(time),
        None => None,
    };
    written.map_or_else(String::new, |date| format!("Last-Modified: {date}\r\n"))
}

/// RFC 9110 section 13.1.3: whether the client has what was modified last at `modified`.
fn is_known(request: &Request<'_>, modified: Option<SystemTime>) -> bool {
    is_until(modified, request, "if-modified-since").unwrap_or(false)
        && request.fields.values("if-none-match").next().is_none()
}

/// RFC 9110 section 13.2.2: whether what the client insists on holds. Nothing here has an entity tag.
fn is_as_wanted(request: &Request<'_>, modified: Option<SystemTime>) -> bool {
    let mut tags = request.fields.values("if-match").peekable();
    if tags.peek().is_some() {
        return tags.all(|tag| tag == b"*");
    }
    is_until(modified, request, "if-unmodified-since").unwrap_or(true)
}

/// Whether `modified` is no later than the date in a field of the request. A condition on a date does not count where
/// either of them is no date (RFC 9110 sections 13.1.3 and 13.1.4).
fn is_until(modified: Option<SystemTime>, request: &Request<'_>, field: &str) -> Option<bool> {
    let text = std::str::from_utf8(request.fields.values(field).next()?).ok()?;
    Some(date::is_until(modified?, date::parse(text)?))
}
