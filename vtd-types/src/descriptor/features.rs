//! What a remapping unit has, as far as descriptors depend on it.

use crate::HostAddressWidth;

/// What a remapping unit says about the descriptors that it takes.
///
/// A virtual unit decodes by what it advertises to its guest, not by what the hardware has:
/// [`Features::descriptors`](crate::Features::descriptors) reads it from the registers.
///
/// ```
/// use vtd_types::DescriptorFeatures;
///
/// let features = DescriptorFeatures::SCALABLE.with_device_tlb(true);
/// assert!(features.scalable() && !features.page_requests());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DescriptorFeatures {
    scalable: bool,
    device_tlb: bool,
    interrupt_remapping: bool,
    page_requests: bool,
    page_request_drain: bool,
    max_address_mask: u8,
    width: HostAddressWidth,
}

/// A getter and a setter for a flag.
macro_rules! flag {
    ($(#[$doc:meta])* $get:ident, $with:ident) => {
        $(#[$doc])*
        #[must_use]
        pub const fn $get(&self) -> bool {
            self.$get
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(mut self, value: bool) -> Self {
            self.$get = value;
            self
        }
    };
}

impl DescriptorFeatures {
    /// A unit in legacy mode with nothing that is optional: one page at a time, and addresses of
    /// any width.
    pub const LEGACY: Self = Self {
        scalable: false,
        device_tlb: false,
        interrupt_remapping: false,
        page_requests: false,
        page_request_drain: false,
        max_address_mask: 0,
        width: HostAddressWidth::MAX,
    };

    /// The same in scalable mode.
    pub const SCALABLE: Self = Self::LEGACY.with_scalable(true);

    flag! {
        /// Whether `RTADDR_REG.TTM` is scalable mode.
        scalable, with_scalable
    }

    flag! {
        /// `ECAP_REG.DT`: there are descriptors for device-TLBs.
        device_tlb, with_device_tlb
    }

    flag! {
        /// `ECAP_REG.IR`: there is a descriptor for interrupt entries.
        interrupt_remapping, with_interrupt_remapping
    }

    flag! {
        /// `ECAP_REG.PRS`: there is a descriptor for answers to page requests.
        page_requests, with_page_requests
    }

    flag! {
        /// `ECAP_REG.PDS`: a wait can wait for page requests.
        page_request_drain, with_page_request_drain
    }

    /// `CAP_REG.MAMV`: the largest address mask of `iotlb_inv_dsc`.
    #[must_use]
    pub const fn max_address_mask(&self) -> u8 {
        self.max_address_mask
    }

    /// With [`Self::max_address_mask`] changed.
    #[must_use]
    pub const fn with_max_address_mask(mut self, value: u8) -> Self {
        self.max_address_mask = value;
        self
    }

    /// How many bits a physical address has.
    #[must_use]
    pub const fn width(&self) -> HostAddressWidth {
        self.width
    }

    /// With [`Self::width`] changed.
    #[must_use]
    pub const fn with_width(mut self, value: HostAddressWidth) -> Self {
        self.width = value;
        self
    }
}
