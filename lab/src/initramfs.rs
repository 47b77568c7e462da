//! The guest's file system: a cpio archive in the "newc" format that the kernel unpacks into memory at boot.
//!
//! It is not compressed. To compress costs more than it saves when every run packs a new one.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
const TRAILER: &str = "TRAILER!!!";

/// Writes a cpio archive.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    out: W,
    written: usize,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            inode: 0,
        }
    }

    /// Adds a directory, whose parent must be there already.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, (0, 0), b"")
    }

    /// Adds a program.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, SYMLINK, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub(crate) fn character_device(
        &mut self,
        path: &str,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE, (major, minor), b"")
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.header(TRAILER, 0, (0, 0), 0, 1)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is larger than the format can say")))?;
        self.header(path, mode, device, size, 1)?;
        self.write(content)?;
        self.pad()
    }

    fn header(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        size: u32,
        links: u32,
    ) -> io::Result<()> {
        let name = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        let (major, minor) = device;
        // Inode, mode, uid, gid, links, time, size, device (2), device of a special file (2), name size, no checksum.
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name, 0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.write(header.as_bytes())?;
        self.write(path.as_bytes())?;
        self.write(b"\0")?;
        self.pad()
    }

    /// Everything starts at a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(4) - self.written;
        self.write(&[0; 3][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_format_says() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev").unwrap();
        archive.character_device("dev/console", 5, 1).unwrap();
        archive.program("init", b"#!/bin/sh\n").unwrap();
        archive.symlink("sh", "busybox").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);

        let text = String::from_utf8(bytes).unwrap();
        // A header of 110 bytes and the name "dev" with its zero end at 114; the next header is at 116.
        assert!(text.starts_with("07070100000001000041ED0000000000000000000000010000000000000000"));
        assert_eq!(&text[110..122], "dev\x00\x00\x00070701");
        let console = &text[116..];
        assert_eq!(&console[78..94], "0000000500000001", "major and minor");
        let init = text.find("init\0").unwrap();
        assert_eq!(
            &text[init - 110 + 54..init - 110 + 62],
            "0000000A",
            "the size of the content"
        );
        assert!(
            text[init..].starts_with("init\0\0#!/bin/sh\n"),
            "aligned to four"
        );
        assert!(text.contains("busybox"));
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"), "{text:?}");
    }
}
