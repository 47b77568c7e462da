//! A file that answers every ioctl with success, and does nothing: one of a file system in user space.

// UNSAFETY: mounts and unmounts a file system.
#![expect(unsafe_code, reason = "mounts a file system")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// The requests that are answered otherwise than with nothing.
mod opcode {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const INIT: u32 = 26;
    pub(super) const IOCTL: u32 = 39;
    pub(super) const BATCH_FORGET: u32 = 42;
}

const REGULAR: u32 = 0o100_000;

/// A file system whose root is such a file.
#[derive(Debug)]
pub struct YesFile {
    path: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl YesFile {
    /// Mounts one, on a file that is made for it.
    #[must_use]
    pub fn mount() -> Self {
        let path = std::env::temp_dir().join(format!("yes-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let fuse = File::options().read(true).write(true).open("/dev/fuse");
        let fuse = fuse.unwrap();
        let options = format!(
            "fd={},rootmode={REGULAR:o},user_id=0,group_id=0",
            fuse.as_raw_fd()
        );
        let (target, options) = (c_path(&path), CString::new(options).unwrap());
        // SAFETY: strings that are borrowed for the call.
        let mounted = unsafe {
            libc::mount(
                c"yes".as_ptr(),
                target.as_ptr(),
                c"fuse".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
        let server = thread::spawn(move || serve(fuse));
        Self {
            path,
            server: Some(server),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for YesFile {
    fn drop(&mut self) {
        let target = c_path(&self.path);
        // SAFETY: a string that is borrowed for the call.
        let unmounted = unsafe { libc::umount2(target.as_ptr(), 0) };
        assert_eq!(unmounted, 0, "{}", std::io::Error::last_os_error());
        // The server's file answers an error from now on.
        let server = self.server.take().unwrap();
        server.join().unwrap();
        fs::remove_file(&self.path).unwrap();
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Answers until the file system is unmounted.
fn serve(mut fuse: File) {
    let mut request = vec![0; 64 << 10];
    while let Ok(len) = fuse.read(&mut request) {
        assert!(len >= 40, "a request has a header");
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let body = match word(4) {
            opcode::FORGET | opcode::BATCH_FORGET => continue,
            // Version 7.31; what is written at once: 4096 bytes.
            opcode::INIT => words(64, &[(0, 7), (4, 31), (20, 4096)]),
            // The mode, and one link.
            opcode::GETATTR => words(104, &[(76, REGULAR | 0o666), (80, 1)]),
            opcode::OPEN | opcode::IOCTL => words(16, &[]),
            _ => Vec::new(),
        };
        let mut answer = words(16, &[(0, 16 + body.len() as u32)]);
        answer[8..].copy_from_slice(&request[8..16]);
        answer.extend(body);
        fuse.write_all(&answer).unwrap();
    }
}

/// So many zeroes, but for some words.
fn words(len: usize, words: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, word) in words {
        bytes[*at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}
