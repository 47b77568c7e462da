//! In unit tests: somebody who answers in the kernel's place, and sees every byte that it would.

// UNSAFETY: reads and writes the memory that an ioctl's argument points to, as the kernel would.
#![expect(unsafe_code, reason = "plays the kernel")]

pub(crate) mod machine;

use std::cell::RefCell;

use rustix::io::Errno;

type Answer = Box<dyn FnMut(Asked<'_>) -> Result<(), Errno>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// An ioctl that was issued.
pub(crate) struct Asked<'a> {
    pub(crate) opcode: u32,
    /// The argument.
    pub(crate) arg: &'a mut [u8],
}

impl Asked<'_> {
    /// The `u32` that is `offset` bytes into the argument.
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.arg[offset..offset + 4].try_into().unwrap())
    }

    /// Sets it.
    pub(crate) fn set_u32(&mut self, offset: usize, value: u32) {
        self.arg[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    /// The `len` bytes at the address that is `offset` bytes into the argument.
    pub(crate) fn data(&self, offset: usize, len: usize) -> &[u8] {
        if len == 0 {
            return &[];
        }
        let start = std::ptr::with_exposed_provenance(self.address(offset));
        // SAFETY: the argument's address is that of a buffer of so many bytes, which is lent to the
        // ioctl: the kernel would read it.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// The same, to be written.
    pub(crate) fn data_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        if len == 0 {
            return &mut [];
        }
        let start = std::ptr::with_exposed_provenance_mut(self.address(offset));
        // SAFETY: the argument's address is that of a buffer of so many bytes, which is lent to the
        // ioctl to be written: the kernel would.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// The address that is `offset` bytes into the argument.
    fn address(&self, offset: usize) -> usize {
        let address = u64::from_ne_bytes(self.arg[offset..offset + 8].try_into().unwrap());
        usize::try_from(address).unwrap()
    }
}

/// Has `answer` answer this thread's ioctls, until the value is dropped.
#[must_use = "the kernel answers again when it is dropped"]
pub(crate) fn answering(answer: impl FnMut(Asked<'_>) -> Result<(), Errno> + 'static) -> impl Drop {
    struct Until;

    impl Drop for Until {
        fn drop(&mut self) {
            ANSWER.take();
        }
    }

    ANSWER.set(Some(Box::new(answer)));
    Until
}

/// The answer, if there is somebody to give it.
pub(super) fn answer(opcode: u32, arg: &mut [u8]) -> Option<Result<(), Errno>> {
    ANSWER.with_borrow_mut(|answer| Some(answer.as_mut()?(Asked { opcode, arg })))
}
