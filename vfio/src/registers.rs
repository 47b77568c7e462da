//! Registers as a driver names them: by place, width and what can be done with them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use iommufd::volatile::{Word, full_barrier};

use crate::bar::BarMapping;
use crate::bar_access::BarAccess;
use crate::config::ConfigSpace;
use crate::error::{Error, Result};
use crate::region::Region;

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody else adds a kind of access")]
    pub trait Sealed {}
}

/// What can be done with a register that can be read; [`ReadOnly`] and [`ReadWrite`].
pub trait Readable: sealed::Sealed {}

/// What can be done with a register that can be written; [`WriteOnly`] and [`ReadWrite`].
pub trait Writable: sealed::Sealed {}

/// A register that can be read.
#[derive(Debug, Clone, Copy)]
pub enum ReadOnly {}

/// A register that can be written, and of which a read says nothing.
#[derive(Debug, Clone, Copy)]
pub enum WriteOnly {}

/// A register that can be read and written.
#[derive(Debug, Clone, Copy)]
pub enum ReadWrite {}

impl sealed::Sealed for ReadOnly {}
impl sealed::Sealed for WriteOnly {}
impl sealed::Sealed for ReadWrite {}
impl Readable for ReadOnly {}
impl Readable for ReadWrite {}
impl Writable for WriteOnly {}
impl Writable for ReadWrite {}

/// A register: where it is, how wide (`W`), and what can be done with it (`A`).
///
/// A driver names its registers once, and neither mistakes their width nor writes those that
/// cannot be written.
///
/// ```no_run
/// use vfio::{BarMapping, ReadOnly, Register, Registers, WriteOnly};
///
/// const IDENTIFICATION: Register<u32, ReadOnly> = Register::at(0x00);
/// const LIVENESS: Register<u32> = Register::at(0x04);
/// const RAISE: Register<u32, WriteOnly> = Register::at(0x60);
///
/// # fn example(bar: &BarMapping) -> vfio::Result<()> {
/// let version = bar.get(IDENTIFICATION)? >> 24;
/// bar.set(LIVENESS, 1)?;
/// bar.set(RAISE, 1)?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use vfio::{BarMapping, ReadOnly, Register, Registers};
/// # const IDENTIFICATION: Register<u32, ReadOnly> = Register::at(0x00);
/// # fn example(bar: &BarMapping) -> vfio::Result<()> {
/// bar.set(IDENTIFICATION, 1)?;
/// # Ok(())
/// # }
/// ```
pub struct Register<W, A = ReadWrite> {
    offset: u64,
    _kind: PhantomData<fn() -> (W, A)>,
}

impl<W: Word, A> Register<W, A> {
    /// The register that begins at byte `offset` of its region or block.
    #[must_use]
    pub const fn at(offset: u64) -> Self {
        Self {
            offset,
            _kind: PhantomData,
        }
    }

    /// Where it begins, in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }
}

impl<W, A> Clone for Register<W, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W, A> Copy for Register<W, A> {}

impl<W, A> fmt::Debug for Register<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Register({:#x}, {} bytes)", self.offset, size_of::<W>())
    }
}

/// What has registers: a mapped BAR, a part of one, configuration space, another region.
///
/// Each access is checked: it has to be within, and aligned to its width.
///
/// # Errors
/// The methods answer as those of the type by the same names; [`Error::OutOfBlock`] from a
/// [`RegisterBlock`].
pub trait Registers {
    /// How many bytes of registers there are.
    fn size(&self) -> u64;

    /// Reads the word at byte `offset`.
    ///
    /// # Errors
    /// As said of the trait.
    fn read<W: Word>(&self, offset: u64) -> Result<W>;

    /// Writes the word at byte `offset`.
    ///
    /// # Errors
    /// As said of the trait.
    fn write<W: Word>(&self, offset: u64, value: W) -> Result<()>;

    /// Reads `out.len()` bytes from byte `offset` on.
    ///
    /// # Errors
    /// As said of the trait.
    fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()>;

    /// Writes `bytes` from byte `offset` on.
    ///
    /// # Errors
    /// As said of the trait.
    fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Reads a word; what follows in this thread comes after it.
    ///
    /// # Errors
    /// As said of the trait.
    fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
        let value = self.read(offset)?;
        full_barrier();
        Ok(value)
    }

    /// Writes a word; what came before in this thread is there first.
    ///
    /// # Errors
    /// As said of the trait.
    fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        full_barrier();
        self.write(offset, value)
    }

    /// Reads a register.
    ///
    /// # Errors
    /// As said of the trait.
    fn get<W: Word, A: Readable>(&self, register: Register<W, A>) -> Result<W> {
        self.read(register.offset)
    }

    /// Writes a register.
    ///
    /// # Errors
    /// As said of the trait.
    fn set<W: Word, A: Writable>(&self, register: Register<W, A>, value: W) -> Result<()> {
        self.write(register.offset, value)
    }

    /// Reads a "done" register: what follows in this thread comes after it.
    ///
    /// # Errors
    /// As said of the trait.
    fn get_acquire<W: Word, A: Readable>(&self, register: Register<W, A>) -> Result<W> {
        self.load_acquire(register.offset)
    }

    /// Writes a doorbell: what came before in this thread is there first.
    ///
    /// # Errors
    /// As said of the trait.
    fn set_release<W: Word, A: Writable>(&self, register: Register<W, A>, value: W) -> Result<()> {
        self.store_release(register.offset, value)
    }

    /// The registers from byte `range.start` to before `range.end`, by themselves: such as those
    /// of one queue of many.
    ///
    /// # Errors
    /// [`Error::OutOfBlock`], if it is not all within, or reversed.
    fn block(&self, range: Range<u64>) -> Result<RegisterBlock<'_, Self>> {
        let size = self.size();
        match range.end.checked_sub(range.start) {
            Some(len) if range.end <= size => Ok(RegisterBlock {
                registers: self,
                start: range.start,
                len,
            }),
            len => Err(Error::OutOfBlock {
                offset: range.start,
                len: len.unwrap_or_default(),
                size,
            }),
        }
    }
}

/// A part of a device's registers, with bounds of its own: made by [`Registers::block`].
///
/// # Invariants
/// All of it is within `registers`.
pub struct RegisterBlock<'r, R: ?Sized> {
    registers: &'r R,
    start: u64,
    len: u64,
}

impl<R: Registers + ?Sized> RegisterBlock<'_, R> {
    /// Where the block begins in what it is a part of, in bytes.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Where `offset` is in the whole, if the `len` bytes there are in the block.
    fn place(&self, offset: u64, len: usize) -> Result<u64> {
        match offset.checked_add(len as u64) {
            // Within the whole, so that it does not overflow.
            Some(end) if end <= self.len => Ok(self.start.saturating_add(offset)),
            _ => Err(Error::OutOfBlock {
                offset,
                len: len as u64,
                size: self.len,
            }),
        }
    }
}

impl<R: Registers + ?Sized> Registers for RegisterBlock<'_, R> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read<W: Word>(&self, offset: u64) -> Result<W> {
        self.registers.read(self.place(offset, size_of::<W>())?)
    }

    fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let place = self.place(offset, size_of::<W>())?;
        self.registers.write(place, value)
    }

    fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let place = self.place(offset, out.len())?;
        self.registers.read_bytes(place, out)
    }

    fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let place = self.place(offset, bytes.len())?;
        self.registers.write_bytes(place, bytes)
    }

    fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
        let place = self.place(offset, size_of::<W>())?;
        self.registers.load_acquire(place)
    }

    fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let place = self.place(offset, size_of::<W>())?;
        self.registers.store_release(place, value)
    }
}

impl<R: ?Sized> Clone for RegisterBlock<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ?Sized> Copy for RegisterBlock<'_, R> {}

impl<R: ?Sized> fmt::Debug for RegisterBlock<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.start.saturating_add(self.len);
        write!(f, "RegisterBlock({:#x}..{end:#x})", self.start)
    }
}

/// By the type's own methods of the same names.
macro_rules! by_its_own {
    ($name:ty $(, $ordered:ident)?) => {
        impl Registers for $name {
            fn size(&self) -> u64 {
                <$name>::size(self)
            }

            fn read<W: Word>(&self, offset: u64) -> Result<W> {
                <$name>::read(self, offset)
            }

            fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
                <$name>::write(self, offset, value)
            }

            fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
                <$name>::read_bytes(self, offset, out)
            }

            fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
                <$name>::write_bytes(self, offset, bytes)
            }

            $(by_its_own! { $ordered $name })?
        }
    };
    (ordered $name:ty) => {
        fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
            <$name>::load_acquire(self, offset)
        }

        fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
            <$name>::store_release(self, offset, value)
        }
    };
}

by_its_own!(BarMapping, ordered);
by_its_own!(BarAccess<'_>, ordered);
by_its_own!(Region);
by_its_own!(ConfigSpace);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Registers that are bytes.
    struct Bytes(RefCell<Vec<u8>>);

    impl Registers for Bytes {
        fn size(&self) -> u64 {
            self.0.borrow().len() as u64
        }

        fn read<W: Word>(&self, offset: u64) -> Result<W> {
            let mut word = W::default();
            self.read_bytes(offset, word.as_mut_bytes())?;
            Ok(word)
        }

        fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
            self.write_bytes(offset, value.as_bytes())
        }

        fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            out.copy_from_slice(&self.0.borrow()[offset as usize..][..out.len()]);
            Ok(())
        }

        fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
            self.0.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn bytes() -> Bytes {
        Bytes(RefCell::new((0..64).collect()))
    }

    #[test]
    fn a_register_is_read_and_written_at_its_place_and_width() {
        const WORD: Register<u16> = Register::at(2);
        const DONE: Register<u8, ReadOnly> = Register::at(4);
        const DOORBELL: Register<u32, WriteOnly> = Register::at(8);
        let registers = bytes();
        assert_eq!(registers.get(WORD).unwrap(), 0x0302);
        assert_eq!(registers.get_acquire(DONE).unwrap(), 4);
        registers.set(WORD, 0xaabb).unwrap();
        registers.set_release(DOORBELL, 0x0102_0304).unwrap();
        assert_eq!(registers.0.borrow()[..5], [0, 1, 0xbb, 0xaa, 4]);
        assert_eq!(registers.0.borrow()[8..12], [4, 3, 2, 1]);
        assert_eq!(format!("{DOORBELL:?}"), "Register(0x8, 4 bytes)");
    }

    #[test]
    fn a_block_has_bounds_of_its_own() {
        let registers = bytes();
        let block = registers.block(16..32).unwrap();
        assert_eq!((block.start(), block.size()), (16, 16));
        assert_eq!(block.read::<u8>(0).unwrap(), 16);
        assert_eq!(block.load_acquire::<u32>(12).unwrap(), 0x1f1e_1d1c);
        block.store_release(0, 0xff_u8).unwrap();
        let inner = block.block(8..16).unwrap();
        assert_eq!(inner.read::<u8>(7).unwrap(), 31);
        let mut out = [0; 8];
        inner.read_bytes(0, &mut out).unwrap();
        assert_eq!(out, [24, 25, 26, 27, 28, 29, 30, 31]);
        inner.write_bytes(7, &[1]).unwrap();
        assert_eq!(registers.0.borrow()[31], 1);
        block.block(16..16).unwrap().read_bytes(0, &mut []).unwrap();

        let outside = |answer: Result<()>| {
            assert!(matches!(answer, Err(Error::OutOfBlock { .. })));
        };
        for offset in [13, 16, u64::MAX - 3, u64::MAX] {
            outside(block.read::<u32>(offset).map(drop));
            outside(block.write(offset, 0_u32));
            outside(block.load_acquire::<u32>(offset).map(drop));
            outside(block.store_release(offset, 0_u32));
            outside(block.read_bytes(offset, &mut [0; 4]));
            outside(block.write_bytes(offset, &[0; 4]));
        }
        outside(inner.read::<u8>(8).map(drop));
        #[expect(clippy::reversed_empty_ranges, reason = "what it is about")]
        for range in [0..17, 17..17, 0..u64::MAX, 8..4, u64::MAX..0] {
            outside(block.block(range).map(drop));
        }
    }
}
