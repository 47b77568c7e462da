//! Reading the data of a device that goes on running.

use std::io;

use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use super::Migration;
use super::state::{PreCopy, PreCopyP2p, State, Streaming};
use crate::cause;
use crate::error::Result;
use crate::ioctl;
use crate::ioctl::feature::Bare;

/// What a read has given of the data of a device that goes on running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreCopied {
    /// So many bytes.
    Data(usize),
    /// None for now: until the device changes, which may be never. Its file becomes readable then.
    EndForNow,
}

/// How much data there are to read, estimated by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreCopyInfo {
    /// How many bytes there are left of those with which the data begin. Before it is 0, stopping the
    /// device makes for a longer standstill.
    pub initial_bytes: u64,
    /// How many bytes there are of what has changed since it was read.
    pub dirty_bytes: u64,
    /// Whether initial data have come anew, whatever was said before, as when the device was set up
    /// differently; `None` unless the kernel was told to say so, by
    /// [`Migration::announce_new_initial_data`].
    pub new_initial_data: Option<bool>,
}

impl<S: State> Migration<S> {
    /// Has the kernel say in [`PreCopyInfo`] whether initial data have come anew. It lasts until the
    /// device is closed.
    ///
    /// Since Linux 7.2 at the latest.
    ///
    /// # Errors
    /// `EINVAL`: the device has no state [`PreCopy`].
    /// [`FeatureError::NotThere`](crate::FeatureError::NotThere): the kernel is older.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2")]
    pub fn announce_new_initial_data(&mut self) -> Result<()> {
        let bound = self.ticket.bound();
        bound.set_bare_feature(Bare::PreCopyInfoV2)?;
        self.ticket.new_initial_data = true;
        Ok(())
    }
}

impl<S: Streaming> Migration<S> {
    fn pre_copy_info(&self) -> Result<PreCopyInfo> {
        let mut arg = sys::vfio_precopy_info::sized();
        let ioctl = &nr::MIG_GET_PRECOPY_INFO;
        let bound = self.ticket.bound();
        bound.watch().check_process()?;
        ioctl::fixed(self.state.file(), bound.audience(), ioctl, &mut arg)
            .map_err(|errno| cause::refusal(ioctl.describe(), errno))?;
        // Else the kernel leaves in the flags whatever it likes.
        let flags = self.ticket.new_initial_data.then_some(arg.flags);
        Ok(PreCopyInfo {
            initial_bytes: arg.initial_bytes,
            dirty_bytes: arg.dirty_bytes,
            new_initial_data: flags.map(|flags| flags & sys::VFIO_PRECOPY_INFO_REINIT != 0),
        })
    }

    fn pre_copy(&self, buffer: &mut [u8]) -> io::Result<PreCopied> {
        match self.read_data(buffer)? {
            // That there is nothing to read into says nothing of the data.
            Ok(0) if buffer.is_empty() => Ok(PreCopied::Data(0)),
            // Some drivers have no other way of saying it.
            Ok(0) | Err(Errno::NOMSG) => Ok(PreCopied::EndForNow),
            Ok(bytes) => Ok(PreCopied::Data(bytes)),
            Err(errno) => Err(errno.into()),
        }
    }
}

macro_rules! pre_copy {
    ($($state:ident)+) => {
        $(
            impl Migration<$state> {
                /// How much data there are to read by now, estimated by the device.
                ///
                /// Since Linux 6.2.
                ///
                /// # Errors
                /// `EINVAL`: the device has left the state, by a reset; `ENODEV`: it has gone, or has
                /// closed the stream. [`iommufd::Error::Forked`].
                #[doc(alias = "VFIO_MIG_GET_PRECOPY_INFO")]
                pub fn info(&self) -> Result<PreCopyInfo> {
                    self.pre_copy_info()
                }

                /// Reads what there is of the data by now. The rest comes from the same stream in
                /// [`StopCopy`](super::StopCopy), after it.
                ///
                /// # Errors
                /// `WouldBlock`, if the migration was made
                /// [non-blocking](Migration::set_nonblocking). `ENODEV`: the device has gone, or was
                /// reset.
                pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<PreCopied> {
                    self.pre_copy(buffer)
                }
            }
        )+
    };
}

pre_copy!(PreCopy PreCopyP2p);
