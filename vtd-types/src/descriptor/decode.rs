//! What the words of a descriptor mean.

use super::fields::{self, ADDRESS};
use super::{
    AddressMask, ContextCacheScope, DeviceTlbRange, FunctionMask, IndexMask, InterruptRange,
    IotlbScope, PageSelection, PasidCacheScope, StatusWrite,
};
use crate::{
    BadDescriptor, Descriptor, DescriptorFeatures, DescriptorKind, DescriptorWords, Gpa,
    InputAddress, InterruptIndex, PageRequestGroup, PageResponse,
};

impl Descriptor {
    /// What the descriptor means on a unit with these features.
    ///
    /// Numbers that are out of range of what the unit has, such as a domain, are no error of the
    /// queue and are given as they are.
    ///
    /// ```
    /// use vtd_types::{BadDescriptor, Descriptor, DescriptorFeatures, DomainId, Pasid};
    ///
    /// let features = DescriptorFeatures::SCALABLE;
    /// // Type 6, G 0b10, domain 7, PASID 5.
    /// assert_eq!(
    ///     Descriptor::decode([0x0000_0005_0007_0026, 0, 0, 0], &features),
    ///     Ok(Descriptor::PasidIotlb {
    ///         domain: DomainId::new(7),
    ///         pasid: Pasid::new(5).expect("of 20 bits"),
    ///         pages: None,
    ///     }),
    /// );
    /// assert_eq!(
    ///     Descriptor::decode([0x0f, 0, 0, 0], &features),
    ///     Err(BadDescriptor::Unknown(0xf)),
    /// );
    /// ```
    ///
    /// # Errors
    /// The descriptor is invalid, for the reason that the error names.
    #[inline]
    pub fn decode(
        words: impl Into<DescriptorWords>,
        features: &DescriptorFeatures,
    ) -> Result<Self, BadDescriptor> {
        decode(words.into().words(), features)
    }
}

const fn decode(
    words: [u64; 4],
    features: &DescriptorFeatures,
) -> Result<Descriptor, BadDescriptor> {
    let [first, second, ..] = words;
    let number = fields::kind(first);
    let Some(kind) = DescriptorKind::from_number(number) else {
        return Err(BadDescriptor::Unknown(number));
    };
    if !implemented(kind, features) {
        return Err(BadDescriptor::NotImplemented(kind));
    }
    if kind.is_scalable() && !features.scalable() {
        return Err(BadDescriptor::Mode(kind));
    }
    if let Some((word, bits)) = reserved(kind, words, features) {
        return Err(BadDescriptor::Reserved { kind, word, bits });
    }
    Ok(match kind {
        DescriptorKind::ContextCache => match context_cache(first) {
            Ok(scope) => Descriptor::ContextCache(scope),
            Err(error) => return Err(error),
        },
        DescriptorKind::PasidCache => match pasid_cache(first) {
            Ok(scope) => Descriptor::PasidCache(scope),
            Err(error) => return Err(error),
        },
        DescriptorKind::Iotlb => match iotlb(first, second, features) {
            Ok(scope) => Descriptor::Iotlb {
                scope,
                drain_reads: fields::DRAIN_READS.is_set(first),
                drain_writes: fields::DRAIN_WRITES.is_set(first),
            },
            Err(error) => return Err(error),
        },
        DescriptorKind::PasidIotlb => Descriptor::PasidIotlb {
            domain: fields::domain(first),
            pasid: fields::pasid(first),
            pages: match fields::GRANULARITY.get(first) {
                0b10 => None,
                0b11 => Some(pages(second)),
                _ => return Err(granularity(kind, first)),
            },
        },
        DescriptorKind::DeviceTlb => Descriptor::DeviceTlb {
            source: fields::source(first, fields::HIGH_SOURCE),
            physical_function: fields::physical_function(first),
            max_pending: fields::MIP.get(first) as u8,
            range: match range(kind, second, fields::SIZE.is_set(second)) {
                Ok(range) => range,
                Err(error) => return Err(error),
            },
        },
        DescriptorKind::PasidDeviceTlb => Descriptor::PasidDeviceTlb {
            source: fields::source(first, fields::LOW_SOURCE),
            physical_function: fields::physical_function(first),
            max_pending: fields::PASID_MIP.get(first) as u8,
            pasid: if fields::ALL_PASIDS.is_set(second) {
                None
            } else {
                Some(fields::pasid(first))
            },
            range: match range(kind, second, fields::PASID_SIZE.is_set(second)) {
                Ok(range) => range,
                Err(error) => return Err(error),
            },
        },
        DescriptorKind::InterruptEntryCache => Descriptor::InterruptEntryCache(interrupts(first)),
        DescriptorKind::Wait => Descriptor::Wait {
            interrupt: fields::INTERRUPT.is_set(first),
            status: status(first, second),
            fence: fields::FENCE.is_set(first),
            drain_page_requests: fields::DRAIN_PAGE_REQUESTS.is_set(first),
        },
        DescriptorKind::PageGroupResponse => Descriptor::PageGroupResponse {
            source: fields::source(first, fields::LOW_SOURCE),
            pasid: if fields::PASID_PRESENT.is_set(first) {
                Some(fields::pasid(first))
            } else {
                None
            },
            group: PageRequestGroup::masked(fields::GROUP.get(second)),
            response: match PageResponse::decode("RC", fields::RESPONSE.get(first)) {
                Ok(response) => response,
                Err(reserved) => return Err(BadDescriptor::Response(reserved.value() as u8)),
            },
        },
    })
}

const fn implemented(kind: DescriptorKind, features: &DescriptorFeatures) -> bool {
    match kind {
        DescriptorKind::DeviceTlb | DescriptorKind::PasidDeviceTlb => features.device_tlb(),
        DescriptorKind::InterruptEntryCache => features.interrupt_remapping(),
        DescriptorKind::PageGroupResponse => features.page_requests(),
        _ => true,
    }
}

/// The first word with bits that are reserved, and those.
const fn reserved(
    kind: DescriptorKind,
    [first, second, third, fourth]: [u64; 4],
    features: &DescriptorFeatures,
) -> Option<(u8, u64)> {
    let [mut allowed_first, mut allowed_second] = fields::allowed(kind);
    if matches!(kind, DescriptorKind::Wait) {
        if !features.page_request_drain() {
            allowed_first &= !fields::DRAIN_PAGE_REQUESTS.mask();
        }
        if fields::STATUS_WRITE.is_set(first) {
            allowed_second &= !features.width().beyond();
        }
    }
    if first & !allowed_first != 0 {
        Some((0, first & !allowed_first))
    } else if second & !allowed_second != 0 {
        Some((1, second & !allowed_second))
    } else if third != 0 {
        Some((2, third))
    } else if fourth != 0 {
        Some((3, fourth))
    } else {
        None
    }
}

const fn granularity(kind: DescriptorKind, first: u64) -> BadDescriptor {
    BadDescriptor::Granularity {
        kind,
        granularity: fields::GRANULARITY.get(first) as u8,
    }
}

const fn context_cache(first: u64) -> Result<ContextCacheScope, BadDescriptor> {
    Ok(match fields::GRANULARITY.get(first) {
        0b01 => ContextCacheScope::Global,
        0b10 => ContextCacheScope::Domain(fields::domain(first)),
        0b11 => ContextCacheScope::Device {
            domain: fields::domain(first),
            source: fields::source(first, fields::HIGH_SOURCE),
            functions: FunctionMask::decode_total(fields::FUNCTION_MASK.get(first)),
        },
        _ => return Err(granularity(DescriptorKind::ContextCache, first)),
    })
}

const fn pasid_cache(first: u64) -> Result<PasidCacheScope, BadDescriptor> {
    Ok(match fields::GRANULARITY.get(first) {
        0b00 => PasidCacheScope::Domain(fields::domain(first)),
        0b01 => PasidCacheScope::Pasid {
            domain: fields::domain(first),
            pasid: fields::pasid(first),
        },
        0b11 => PasidCacheScope::Global,
        _ => return Err(granularity(DescriptorKind::PasidCache, first)),
    })
}

const fn iotlb(
    first: u64,
    second: u64,
    features: &DescriptorFeatures,
) -> Result<IotlbScope, BadDescriptor> {
    Ok(match fields::GRANULARITY.get(first) {
        0b01 => IotlbScope::Global,
        0b10 => IotlbScope::Domain(fields::domain(first)),
        0b11 => {
            let mask = fields::MASK.get(second) as u8;
            let most = features.max_address_mask();
            if mask > most {
                return Err(BadDescriptor::AddressMask { mask, most });
            }
            IotlbScope::Pages {
                domain: fields::domain(first),
                pages: pages(second),
            }
        }
        _ => return Err(granularity(DescriptorKind::Iotlb, first)),
    })
}

const fn pages(second: u64) -> PageSelection {
    PageSelection::new(
        InputAddress::new(second & ADDRESS.mask()),
        AddressMask::capped(fields::MASK.get(second) as u8),
        fields::HINT.is_set(second),
    )
}

const fn range(
    kind: DescriptorKind,
    second: u64,
    size: bool,
) -> Result<DeviceTlbRange, BadDescriptor> {
    match DeviceTlbRange::from_bits(second & ADDRESS.mask(), size) {
        Some(range) => Ok(range),
        None => Err(BadDescriptor::Range(kind)),
    }
}

const fn interrupts(first: u64) -> Option<InterruptRange> {
    if !fields::SELECTIVE.is_set(first) {
        return None;
    }
    Some(InterruptRange::new(
        InterruptIndex::new(fields::INDEX.get(first) as u16),
        IndexMask::capped(fields::INDEX_MASK.get(first) as u8),
    ))
}

const fn status(first: u64, second: u64) -> Option<StatusWrite> {
    if !fields::STATUS_WRITE.is_set(first) {
        return None;
    }
    // What is beyond 52 bits is reserved.
    Some(StatusWrite::aligned_down(
        Gpa::masked(second),
        fields::STATUS_DATA.get(first) as u32,
    ))
}
