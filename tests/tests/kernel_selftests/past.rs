//! Nested translation past the SDK: arguments as they should be, for a test to spoil.

use std::os::fd::AsFd;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::mock::abi;
use tests::mock::nesting::CONFIG;
use tests::raw;
use zerocopy::{Immutable, IntoBytes};

/// A page table for the device `dev` in `pt`, of which a test changes what it likes.
pub(crate) fn table(
    fd: &impl AsFd,
    dev: u32,
    pt: u32,
    spoil: impl FnOnce(&mut sys::iommu_hwpt_alloc),
) -> Result<u32, Errno> {
    table_with(fd, dev, pt, CONFIG.as_bytes(), spoil)
}

/// The same, with other data, or none.
pub(crate) fn table_with(
    fd: &impl AsFd,
    dev: u32,
    pt: u32,
    data: &[u8],
    spoil: impl FnOnce(&mut sys::iommu_hwpt_alloc),
) -> Result<u32, Errno> {
    let mut arg = sys::iommu_hwpt_alloc::sized();
    arg.dev_id = dev;
    arg.pt_id = pt;
    if !data.is_empty() {
        arg.data_type = abi::HWPT_DATA_SELFTEST;
    }
    spoil(&mut arg);
    raw::nested::hwpt_alloc(fd, &mut arg, data)
}

/// Has `commands` carried out by the nested table or virtual IOMMU `target`; says how many were handled, too.
pub(crate) fn invalidate<C: IntoBytes + Immutable>(
    fd: &impl AsFd,
    target: u32,
    commands: &[C],
    spoil: impl FnOnce(&mut sys::iommu_hwpt_invalidate),
) -> (Result<(), Errno>, u32) {
    let mut arg = sys::iommu_hwpt_invalidate::sized();
    arg.hwpt_id = target;
    arg.data_type = abi::TYPE_SELFTEST;
    arg.entry_len = u32::try_from(size_of::<C>()).unwrap();
    arg.entry_num = u32::try_from(commands.len()).unwrap();
    spoil(&mut arg);
    let answer = raw::nested::invalidate(fd, &mut arg, commands.as_bytes());
    (answer, arg.entry_num)
}

/// Makes an invalidation wrong.
type Spoil = fn(&mut sys::iommu_hwpt_invalidate);

/// What is wrong with an invalidation whoever takes it, whatever its commands: each is refused, with nothing done.
pub(crate) fn refuses_what_is_no_invalidation<C: IntoBytes + Immutable>(
    fd: &impl AsFd,
    target: u32,
    command: &C,
) {
    let one = std::slice::from_ref(command);
    let spoiled: [(&str, Spoil, Errno); 7] = [
        ("reserved", |arg| arg.__reserved = 1, Errno::OPNOTSUPP),
        (
            "another type",
            |arg| arg.data_type = 0xdad_beef,
            Errno::INVAL,
        ),
        ("no length", |arg| arg.entry_len = 0, Errno::INVAL),
        (
            "longer than a page",
            |arg| arg.entry_len = 4097,
            Errno::INVAL,
        ),
        (
            "too many",
            |arg| arg.entry_num = (1 << 19) + 1,
            Errno::INVAL,
        ),
        ("no such object", |arg| arg.hwpt_id = 0, Errno::NOENT),
        ("nowhere", |arg| arg.hwpt_id = 9999, Errno::NOENT),
    ];
    for (what, spoil, errno) in spoiled {
        let answer = invalidate(fd, target, one, spoil);
        assert_eq!(answer, (Err(errno), 0), "{what}");
    }
    let nothing: &[C] = &[];
    let at_no_address = invalidate(fd, target, nothing, |arg| arg.entry_num = 1);
    assert_eq!(at_no_address, (Err(Errno::INVAL), 0));
    // None at all only asks whether the type is known.
    assert_eq!(invalidate(fd, target, nothing, |_| ()), (Ok(()), 0));
    let unknown = invalidate(fd, target, nothing, |arg| arg.data_type = 0xdad_beef);
    assert_eq!(unknown, (Err(Errno::INVAL), 0));
}
