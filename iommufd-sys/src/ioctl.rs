//! One typed description per ioctl: number, name, argument, file descriptor, first release.
//!
//! An [`Ioctl`] makes no call. It is what a function that makes the calls takes, so that the argument fits the number and
//! errors and observers name what was called.

use core::fmt;
use core::marker::PhantomData;

pub mod iommufd;
mod sized;
pub mod vfio;

pub use sized::{ArgszArg, SizedArg, write_size};

/// A release of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Linux {
    /// 6 of 6.13.
    pub major: u8,
    /// 13 of 6.13.
    pub minor: u8,
}

impl fmt::Display for Linux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The file descriptor an ioctl is for. VFIO gives one number different meanings on different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fd {
    /// `/dev/iommu`.
    Iommu,
    /// `/dev/vfio/vfio`, or `/dev/iommu` where it emulates a container of type 1.
    Container,
    /// `/dev/vfio/$GROUP`.
    Group,
    /// A VFIO device: `/dev/vfio/devices/vfioX`, or what a group gave.
    Device,
    /// The migration data of a VFIO device.
    Migration,
}

/// An argument that is a number passed by value, not a pointer to one.
#[derive(Clone, Copy, Debug)]
pub enum ByValue {}

/// One ioctl that takes a pointer to a `T`; nothing where `T` is `()`, a number where it is [`ByValue`].
pub struct Ioctl<T: ?Sized> {
    description: Description,
    _arg: PhantomData<fn(&mut T)>,
}

/// What an [`Ioctl`] says without the type of its argument, for tables, errors and observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Description {
    /// The name in C.
    pub name: &'static str,
    /// The number, all of it.
    pub request: u32,
    /// What has to be open.
    pub fd: Fd,
    /// The bytes that every kernel with this ioctl asks for; 0 where the argument does not carry its size.
    pub min_size: u32,
    /// The bytes of the argument in the bindings, flexible array not counted.
    pub size: u32,
    /// The first release. A kernel of a distribution may have it earlier: probe, do not compare versions.
    pub since: Linux,
}

impl<T: ?Sized> Ioctl<T> {
    /// Describes an ioctl that is not in this crate: of a newer kernel, or of the kernel's mock driver.
    ///
    /// # Safety
    ///
    /// On `fd` the kernel takes a pointer to a `T` under this number, or refuses the number. Users of an `Ioctl` rely on
    /// it.
    // UNSAFETY: that number and type belong together is what the unsafe calls of other crates rest on.
    #[expect(unsafe_code, reason = "declares a contract; the body is safe")]
    pub const unsafe fn custom(description: Description) -> Self {
        Self::new(description)
    }

    const fn new(description: Description) -> Self {
        Self {
            description,
            _arg: PhantomData,
        }
    }

    /// The name in C.
    pub const fn name(&self) -> &'static str {
        self.description.name
    }

    /// The number, all of it.
    pub const fn request(&self) -> u32 {
        self.description.request
    }

    /// What has to be open.
    pub const fn fd(&self) -> Fd {
        self.description.fd
    }

    /// The bytes that every kernel with this ioctl asks for; 0 where the argument does not carry its size.
    pub const fn min_size(&self) -> u32 {
        self.description.min_size
    }

    /// The bytes of the argument in the bindings, flexible array not counted.
    pub const fn size(&self) -> u32 {
        self.description.size
    }

    /// The first release.
    pub const fn since(&self) -> Linux {
        self.description.since
    }

    /// The same without the type.
    pub const fn describe(&self) -> Description {
        self.description
    }
}

// By hand: derives would ask the same of `T`.
impl<T: ?Sized> Clone for Ioctl<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Ioctl<T> {}

impl<T: ?Sized> fmt::Debug for Ioctl<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt(f)
    }
}

/// C's `_IO`: a number with no size and no direction in it.
const fn io(ty: u8, nr: u32) -> u32 {
    NO_DIRECTION | (ty as u32) << 8 | nr
}

/// `_IOC_NONE` in its place: these architectures have a bit for it, everywhere else it is 0.
pub(crate) const NO_DIRECTION: u32 = if cfg!(any(
    target_arch = "powerpc64",
    target_arch = "mips64",
    target_arch = "mips64r6"
)) {
    1 << 29
} else {
    0
};

/// `(min_size, size)` of a struct of which the kernel wants everything up to and including a field.
macro_rules! through {
    ($arg:ident.$last:ident) => {
        (
            (core::mem::offset_of!($arg, $last)
                + crate::layout::size_of_field(|arg: &$arg| &arg.$last)) as u32,
            size_of::<$arg>() as u32,
        )
    };
}

/// Constants of type [`Ioctl`], each documented with its file descriptor and release, and `ALL`.
macro_rules! ioctls {
    ($ty:expr; $(
        on $fd:ident, $path:literal:
        $(
            $(#[doc = $doc:literal])+
            $c:literal = $name:ident($arg:ty), $nr:expr, $sizes:expr, since $major:literal $minor:literal;
        )+
    )+) => {
        $($(
            $(#[doc = $doc])+
            #[doc = concat!("\n\nOn ", $path, ", since Linux ", $major, ".", $minor, ".")]
            #[doc(alias = $c)]
            pub const $name: Ioctl<$arg> = {
                let (min_size, size) = $sizes;
                Ioctl::new(Description {
                    name: $c,
                    request: super::io($ty, $nr),
                    fd: Fd::$fd,
                    min_size,
                    size,
                    since: Linux { major: $major, minor: $minor },
                })
            };
        )+)+

        /// All of them, in the order of their numbers on each file descriptor.
        pub const ALL: &[Description] = &[$($($name.describe(),)+)+];
    };
}

pub(crate) use {ioctls, through};
