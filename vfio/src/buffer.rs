//! Bytes for arguments of variable size, aligned for any of the kernel's structs.

use iommufd_sys::ioctl::ArgszArg;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// At least as many zeroed bytes as asked for, aligned to 8.
#[derive(Debug, Clone)]
pub(crate) struct AlignedBytes {
    words: Vec<u64>,
}

impl AlignedBytes {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(size_of::<u64>())],
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.words.as_bytes()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.words.as_mut_bytes()
    }

    /// Writes `value` at byte `offset`; `None`, with nothing written, where it does not fit.
    pub(crate) fn put<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        offset: usize,
        value: &T,
    ) -> Option<()> {
        let value = value.as_bytes();
        let end = offset.checked_add(value.len())?;
        self.bytes_mut()
            .get_mut(offset..end)?
            .copy_from_slice(value);
        Some(())
    }

    /// The struct at the start.
    pub(crate) fn head<T: ArgszArg>(&self) -> Option<T> {
        T::read_from_prefix(self.bytes()).ok().map(|(head, _)| head)
    }

    /// The first 32 bits: where the kernel answers how many bytes it has to say.
    pub(crate) fn argsz(&self) -> u32 {
        u32::read_from_prefix(self.bytes()).map_or(0, |(argsz, _)| argsz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommufd_sys::vfio::vfio_device_info;

    #[test]
    fn p10_answers_are_aligned_for_64_bit_fields() {
        for len in 0..40 {
            let buffer = AlignedBytes::zeroed(len);
            assert!(buffer.bytes().as_ptr().cast::<u64>().is_aligned());
            assert!(buffer.bytes().len() >= len);
        }
    }

    #[test]
    fn what_is_put_in_comes_out_and_nothing_passes_the_end() {
        let mut buffer = AlignedBytes::zeroed(20);
        assert_eq!(buffer.bytes().len(), 24);
        let mut info = vfio_device_info::sized();
        info.num_irqs = 5;
        assert_eq!(buffer.put(0, &info), Some(()));
        assert_eq!(buffer.argsz(), 24);
        assert_eq!(
            buffer.head::<vfio_device_info>().map(|info| info.num_irqs),
            Some(5)
        );
        assert_eq!(buffer.put(20, &[1_u32, 2][..]), None);
        assert_eq!(buffer.put(usize::MAX, &1_u32), None);
        assert_eq!(AlignedBytes::zeroed(0).argsz(), 0);
    }
}
