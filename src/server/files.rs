//! Files of a folder, as they are asked for: with type, length and date, and no way out of the folder.

use crate::net::sys;
use crate::proto::answer::Answer;
use crate::proto::http::Request;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A folder that is served.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: Arc<OwnedFd>,
}

/// What becomes of a request for a file.
#[derive(Debug)]
pub(super) enum Found {
    /// It is this one, so long, with these fields.
    File { file: File, bytes: u64, content_type: String, fields: String },
    /// It has not changed since (RFC 9110 section 13.1.3).
    NotModified { fields: String },
    /// It is not what the client insists on (RFC 9110 section 13.1.4).
    Changed,
    /// It is a folder, whose name ends with a slash.
    Moved { fields: String },
    /// There is none, or none that may be seen.
    Missing,
    /// This host can open no more files now.
    Busy,
}

impl Files {
    /// Opens the folder.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::open(folder)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { folder: Arc::new(file.into()) })
    }

    /// Finds what `path`, as it stands in the request behind the route's own, names.
    pub(super) fn find(&self, path: &str, request: &Request<'_>) -> Found {
        let Ok(mut name) = percent_encoding::percent_decode_str(path).decode_utf8().map(|name| name.into_owned())
        else {
            return Found::Missing;
        };
        // A name that begins with a dot is not for everyone, on any level.
        if name.contains('\0') || name.split('/').any(|part| part.starts_with('.')) {
            return Found::Missing;
        }
        let is_folder = name.is_empty() || name.ends_with('/');
        if is_folder {
            name.push_str("index.html");
        }
        match sys::open_beneath(self.folder.as_fd(), name.trim_start_matches('/')) {
            Ok(file) => judge(file.into(), &name, is_folder, request),
            Err(error) if matches!(error.raw_os_error(), Some(sys::errno::EMFILE | sys::errno::ENFILE)) => Found::Busy,
            Err(_) => Found::Missing,
        }
    }
}

fn judge(file: File, name: &str, is_index: bool, request: &Request<'_>) -> Found {
    let Ok(about) = file.metadata() else { return Found::Missing };
    if about.is_dir() {
        // A link that is relative in its page has to be below the folder; RFC 9110 section 15.4.2.
        let path = request.path();
        let fields = format!("Location: {path}/\r\n");
        return if is_index || path.starts_with("//") { Found::Missing } else { Found::Moved { fields } };
    }
    if !about.is_file() {
        return Found::Missing;
    }
    let modified = about.modified().unwrap_or(UNIX_EPOCH);
    let fields = format!("Last-Modified: {}\r\nX-Content-Type-Options: nosniff\r\n", httpdate::fmt_http_date(modified));
    if !is_as_wanted(request, modified) {
        return Found::Changed;
    }
    if is_known(request, modified) {
        return Found::NotModified { fields };
    }
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let charset = if guess.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
    Found::File { file, bytes: about.len(), content_type: format!("{guess}{charset}"), fields }
}

/// RFC 9110 section 13.1.3: whether the client has what was modified last at `modified`. Dates have whole seconds.
fn is_known(request: &Request<'_>, modified: SystemTime) -> bool {
    let Some(since) = date(request, "if-modified-since") else { return false };
    modified < since + Duration::from_secs(1) && request.fields.values("if-none-match").next().is_none()
}

/// RFC 9110 section 13.2.2: whether what the client insists on holds. Nothing here has an entity tag.
fn is_as_wanted(request: &Request<'_>, modified: SystemTime) -> bool {
    let mut tags = request.fields.values("if-match").peekable();
    if tags.peek().is_some() {
        return tags.all(|tag| tag == b"*");
    }
    date(request, "if-unmodified-since").is_none_or(|since| modified < since + Duration::from_secs(1))
}

fn date(request: &Request<'_>, field: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(request.fields.values(field).next()?).ok()?).ok()
}

impl Found {
    /// The answer of all but a file, which goes another way.
    pub(super) fn answer(&self) -> Answer<'_> {
        let (status, more_fields) = match self {
            Self::NotModified { fields } => (304, &**fields),
            Self::Moved { fields } => (301, &**fields),
            Self::Changed => (412, ""),
            Self::Busy => (503, "Retry-After: 1\r\n"),
            Self::Missing | Self::File { .. } => (404, ""),
        };
        Answer { more_fields, close: false, ..Answer::refusal(status) }
    }
}
