//! The system calls that this program makes itself, because the standard library has none for them or does more than a
//! connection can afford. Apart from `proto/mask.rs`, all `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "system calls; each call has its SAFETY line")]

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[inline]
fn count(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Repeats a transfer that a signal interrupted before the first byte (signal(7)): no edge follows EINTR, so a socket
/// that is not read or written again would wait for ever.
#[inline(always)]
fn uninterrupted(mut call: impl FnMut() -> libc::c_long) -> io::Result<usize> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        if let Some(error) = failure() {
            return Err(error);
        }
    }
}

/// Returns why the last call failed; `None` where it is to be repeated.
#[cold]
fn failure() -> Option<io::Error> {
    let error = io::Error::last_os_error();
    (error.kind() != io::ErrorKind::Interrupted).then_some(error)
}

/// Returns errno of a failed call; 0 for an error that is not one of the kernel's.
pub fn error_code(error: &io::Error) -> u16 {
    error.raw_os_error().and_then(|code| u16::try_from(code).ok()).unwrap_or(0)
}

/// Accepts one connection, non-blocking from the start; accept4(2).
///
/// # Errors
/// As accept4(2): `WouldBlock` when the queue is empty.
#[inline]
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // The peer's address is not needed here, so the kernel need not copy it out.
    // SAFETY: the descriptor is borrowed for the call, and null pointers ask for no address.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    // SAFETY: a descriptor that accept4 just made is owned by no one else.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns whether an error of [`accept`] concerns only the connection that was about to be accepted; accept(2), "Error
/// handling".
pub fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

/// Reads what has arrived; recv(2). Zero means the end of the stream.
///
/// # Errors
/// As recv(2): `WouldBlock` when nothing is there.
#[inline]
pub fn recv(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    let none = std::ptr::null::<u8>();
    // This is made by number: recv of the C library is a point of thread cancellation, which costs forty instructions a
    // call.
    // SAFETY: the pointer and the length are those of one exclusive slice; null pointers ask for no address.
    uninterrupted(|| unsafe {
        libc::syscall(libc::SYS_recvfrom, socket.as_raw_fd(), bytes.as_mut_ptr(), bytes.len(), 0, none, none)
    })
}

/// Sends as much of `bytes` as the socket takes; send(2), without SIGPIPE.
///
/// # Errors
/// As send(2): `WouldBlock` when the socket's buffer is full.
#[inline]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let none = std::ptr::null::<u8>();
    // SAFETY: the pointer and the length are those of one slice, which is only read; there is no address.
    uninterrupted(|| unsafe {
        libc::syscall(libc::SYS_sendto, socket.as_raw_fd(), bytes.as_ptr(), bytes.len(), libc::MSG_NOSIGNAL, none, 0)
    })
}

/// Sends as much of `slices` as the socket takes, one after the other; sendmsg(2), without SIGPIPE.
///
/// # Errors
/// As sendmsg(2): `WouldBlock` when the socket's buffer is full.
pub fn send_vectored(socket: BorrowedFd<'_>, slices: &[std::io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: msghdr is made of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice is laid out as iovec is, which the standard library promises for Unix.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len();
    // SAFETY: the message points to slices that live through the call, and they are only read.
    uninterrupted(
        || unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) } as libc::c_long
    )
}

/// Sends up to `bytes` of a file from `offset` on, and advances `offset`; sendfile(2). Zero means the end of the file.
///
/// # Errors
/// As sendfile(2): `WouldBlock` when the socket's buffer is full.
pub fn sendfile(socket: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: &mut u64, bytes: u64) -> io::Result<usize> {
    let mut at = *offset as libc::off64_t;
    // SAFETY: both descriptors are borrowed for the call, and the offset is an exclusive pointer to one that lives.
    let sent = uninterrupted(|| {
        (unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &raw mut at, bytes as usize) }) as libc::c_long
    })?;
    *offset = at as u64;
    Ok(sent)
}

/// Opens a file for reading, by a path that does not lead out of `folder`, not even by a symbolic link; openat2(2),
/// RESOLVE_BENEATH, Linux 5.6. A device or a pipe does not block.
///
/// # Errors
/// As openat2(2): EXDEV for a path that leads out.
pub fn open_beneath(folder: BorrowedFd<'_>, path: &OsStr) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_bytes())?;
    // SAFETY: open_how is made of integers, for which zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = READ as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with a zero and the structure has the size that is told; both live through the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, folder.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<libc::open_how>())
    };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: a descriptor that openat2 just made is owned by no one else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Flags for files that untrusted paths name: a device or a pipe does not block, and no terminal becomes the
/// controlling one.
const READ: libc::c_int = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens a file of `folder` for reading, unless `name` is a symbolic link; openat(2), O_NOFOLLOW.
///
/// # Errors
/// As openat(2): ELOOP for a symbolic link.
pub fn open_file_at(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    open_at(folder, name, READ | libc::O_NOFOLLOW)
}

/// Opens a folder in `folder`, to look names up in it, unless `name` is a symbolic link; openat(2), O_PATH and
/// O_NOFOLLOW.
///
/// # Errors
/// As openat(2): ENOTDIR for a symbolic link.
pub fn open_folder_at(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    open_at(folder, name, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
}

fn open_at(folder: BorrowedFd<'_>, name: &OsStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = CString::new(name.as_bytes())?;
    // SAFETY: the name ends with a zero and lives through the call; the flags ask for no mode.
    let fd = check(unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags) })?;
    // SAFETY: a descriptor that openat just made is owned by no one else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the target of a symbolic link in `folder`; `None` for a file of another kind. readlinkat(2).
///
/// # Errors
/// As readlinkat(2).
pub fn read_link_at(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let name = CString::new(name.as_bytes())?;
    let mut target = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the name ends with a zero; the pointer and the length are those of one exclusive slice.
    let length =
        unsafe { libc::readlinkat(folder.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    match count(length as libc::c_long) {
        // A target that fills the buffer may have been cut.
        Ok(length) if length == target.len() => Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
        Ok(length) => {
            target.truncate(length);
            Ok(Some(target))
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns how many bytes a socket took that its peer has not acknowledged; ioctl(2), SIOCOUTQ (tcp(7), unix(7)).
///
/// # Errors
/// As ioctl(2).
pub fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request (TIOCOUTQ has the same number as SIOCOUTQ) takes a pointer to an int, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes)
}

/// Has a socket take no more while it holds this many bytes that have not been sent; accepted sockets inherit that from
/// their listener. tcp(7), TCP_NOTSENT_LOWAT.
///
/// # Errors
/// As setsockopt(2).
pub fn set_notsent_lowat(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    // SAFETY: the option takes an unsigned int, and gets a pointer to one with its size.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Waits until one of `descriptors` is readable (or writable, where its flag is set), has ended or has failed, for at
/// most `timeout`; returns for each whether that is so. poll(2): for a handful of descriptors, and files of every kind.
///
/// # Errors
/// As poll(2); a signal is not an error, it ends the wait.
pub fn poll(descriptors: &[(BorrowedFd<'_>, bool)], timeout: Duration) -> io::Result<Vec<bool>> {
    let wanted = |write: bool| if write { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    let entry =
        |&(fd, write): &(BorrowedFd<'_>, bool)| libc::pollfd { fd: fd.as_raw_fd(), events: wanted(write), revents: 0 };
    let mut entries: Vec<libc::pollfd> = descriptors.iter().map(entry).collect();
    // Rounded up, so that the caller does not wake a moment too early and wait again.
    let timeout_ms = libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer and the length are those of one exclusive slice; the descriptors are borrowed for the call.
    match check(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout_ms) }) {
        Ok(_) => Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; descriptors.len()]),
        Err(error) => Err(error),
    }
}

/// Waits until `descriptor` is readable, for at most `timeout`, with the precision of the kernel's timers; ppoll(2). A
/// signal ends the wait, and so does an error, which the next read reports.
pub fn wait_readable(descriptor: &impl AsRawFd, timeout: Duration) {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: both pointers are to values that live through the call; a null pointer leaves the signal mask as it is.
    unsafe { libc::ppoll(&raw mut entry, 1, &raw const time, std::ptr::null()) };
}

/// Has the kernel wake the calling thread at the requested time, and not up to 50 us later together with others;
/// prctl(2), PR_SET_TIMERSLACK.
pub fn wake_exactly() {
    // SAFETY: the option takes one number, of nanoseconds; it cannot fail.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Creates a counter that wakes the thread that waits for it; eventfd(2), non-blocking.
///
/// # Errors
/// As eventfd(2).
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    // SAFETY: a descriptor that eventfd just made is owned by no one else.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets connect(2) choose the port of a socket that is bound to an address alone, so that the port must be unique only
/// for the whole four-tuple; ip(7), IP_BIND_ADDRESS_NO_PORT.
///
/// # Errors
/// As setsockopt(2).
pub fn set_bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and gets a pointer to one with its size.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Fills `bytes` from the system's random source; getrandom(2).
///
/// # Panics
/// If the kernel has none. Linux 3.17 and later has one, unless a filter forbids it, which [`check_random`] finds out.
pub fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and the length are those of one exclusive slice.
        match count(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) } as libc::c_long) {
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("getrandom: {error}"),
        }
    }
}

/// Checks that there is such a source, which a seccomp filter may forbid.
///
/// # Errors
/// As getrandom(2).
pub fn check_random() -> io::Result<()> {
    let mut byte = 0_u8;
    // SAFETY: the pointer is to one byte that lives through the call.
    count(unsafe { libc::getrandom((&raw mut byte).cast(), 1, 0) } as libc::c_long).map(drop)
}

/// Returns a random number; see [`random`].
pub fn random_number() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Returns the limits on the descriptors of one table, soft and hard; getrlimit(2), RLIMIT_NOFILE.
///
/// # Errors
/// As getrlimit(2).
pub fn nofile() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a rlimit that lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets both limits on descriptors; setrlimit(2).
///
/// # Errors
/// As setrlimit(2): raising the hard limit needs CAP_SYS_RESOURCE.
pub fn set_nofile(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is to a rlimit that lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// Returns whether this process may have `bytes` more of memory; mmap(2). None of it is touched.
pub fn has_room(bytes: usize) -> bool {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses a place where nothing is mapped, or fails.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: that mapping was just made, and nothing points into it.
    unsafe { libc::munmap(at, bytes) };
    true
}

/// Has all threads allocate from one arena, so that malloc(3) reserves no address space for others; mallopt(3),
/// M_ARENA_MAX.
pub fn use_one_arena() {
    // SAFETY: the option takes a number. Where it is not known, nothing changes.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Gives the calling thread a descriptor table of its own, a copy of the one that it shared; unshare(2), CLONE_FILES.
///
/// RLIMIT_NOFILE bounds each table, not the process, and no privilege is needed.
///
/// # Errors
/// As unshare(2); a seccomp filter may forbid it.
pub fn unshare_files() -> io::Result<()> {
    // SAFETY: this changes which table the thread's descriptors are looked up in, and copies all of them; what is
    // owned before stays open in both.
    check(unsafe { libc::unshare(libc::CLONE_FILES) }).map(drop)
}

/// Returns the CPU time that this process has used, in user space and in the kernel; getrusage(2).
pub fn cpu_time() -> (Duration, Duration) {
    // SAFETY: rusage is made of integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a rusage that lives through the call.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    debug_assert_eq!(result, 0, "getrusage fails only for a bad pointer");
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

/// Error numbers that other modules distinguish, errno(3).
pub mod errno {
    pub use libc::{
        EAGAIN, ECONNREFUSED, ECONNRESET, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, EPIPE, ETIMEDOUT, EXDEV,
    };

    /// As [`super::super::cause::Cause`] has it.
    pub const EADDRINUSE: u16 = libc::EADDRINUSE as u16;
    /// The same.
    pub const EADDRNOTAVAIL: u16 = libc::EADDRNOTAVAIL as u16;
    /// The same.
    pub const ENOBUFS: u16 = libc::ENOBUFS as u16;
}

/// Returns freed memory to the system, wherever in the heap it is; malloc_trim(3).
pub(super) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes and returns no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has malloc map each block of `bytes` or more by itself, so that it returns to the system when it is freed; and where
/// address space is limited, has all threads share one arena, since each arena reserves 64 MiB; mallopt(3).
pub fn set_up_heap(mapped_from_bytes: usize, is_address_space_limited: bool) {
    #[cfg(target_env = "gnu")]
    // SAFETY: numbers alone; what malloc does not take it ignores.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::try_from(mapped_from_bytes).unwrap_or(i32::MAX));
        if is_address_space_limited {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
