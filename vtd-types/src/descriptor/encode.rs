//! The words of a descriptor.

use super::fields::{self, GRANULARITY};
use super::{ContextCacheScope, InterruptRange, IotlbScope, PageSelection, PasidCacheScope};
use crate::{Descriptor, DescriptorWords, DomainId, Pasid};

impl Descriptor {
    /// Its words. Every bit that is not of a field is 0.
    ///
    /// ```
    /// use vtd_types::{Descriptor, Gpa, StatusWrite};
    ///
    /// let wait = Descriptor::Wait {
    ///     interrupt: false,
    ///     status: StatusWrite::new(Gpa::new(0x1000).expect("of 52 bits"), 2),
    ///     fence: false,
    ///     drain_page_requests: false,
    /// };
    /// assert_eq!(wait.encode().words(), [0x0000_0002_0000_0025, 0x1000, 0, 0]);
    /// ```
    #[must_use]
    pub const fn encode(&self) -> DescriptorWords {
        let (first, second) = self.words();
        DescriptorWords::from_words([first, second, 0, 0])
    }

    /// Its words, in registers rather than in memory. There are no more than two that are not 0.
    const fn words(&self) -> (u64, u64) {
        let kind = fields::first_word(self.kind());
        match *self {
            Self::ContextCache(scope) => (context_cache(kind, scope), 0),
            Self::PasidCache(scope) => (pasid_cache(kind, scope), 0),
            Self::Iotlb {
                scope,
                drain_reads,
                drain_writes,
            } => {
                let first = fields::DRAIN_READS.put(kind, drain_reads as u64);
                let first = fields::DRAIN_WRITES.put(first, drain_writes as u64);
                iotlb(first, scope)
            }
            Self::PasidIotlb {
                domain,
                pasid,
                pages: selection,
            } => {
                let first = with_pasid(with_domain(kind, domain), pasid);
                match selection {
                    None => (GRANULARITY.put(first, 0b10), 0),
                    Some(selection) => (GRANULARITY.put(first, 0b11), pages(selection)),
                }
            }
            Self::DeviceTlb {
                source,
                physical_function,
                max_pending,
                range,
            } => {
                let first = fields::HIGH_SOURCE.put(kind, source.get() as u64);
                let first = fields::MIP.put(first, max_pending as u64);
                let (address, size) = range.to_bits();
                (
                    fields::with_physical_function(first, physical_function),
                    fields::SIZE.put(address, size as u64),
                )
            }
            Self::PasidDeviceTlb {
                source,
                physical_function,
                max_pending,
                pasid,
                range,
            } => {
                let first = fields::LOW_SOURCE.put(kind, source.get() as u64);
                let first = fields::PASID_MIP.put(first, max_pending as u64);
                let first = fields::with_physical_function(first, physical_function);
                let (address, size) = range.to_bits();
                let second = fields::PASID_SIZE.put(address, size as u64);
                match pasid {
                    Some(pasid) => (with_pasid(first, pasid), second),
                    None => (first, fields::ALL_PASIDS.put(second, 1)),
                }
            }
            Self::InterruptEntryCache(range) => (interrupts(kind, range), 0),
            Self::Wait {
                interrupt,
                status,
                fence,
                drain_page_requests,
            } => {
                let first = fields::INTERRUPT.put(kind, interrupt as u64);
                let first = fields::FENCE.put(first, fence as u64);
                let first = fields::DRAIN_PAGE_REQUESTS.put(first, drain_page_requests as u64);
                match status {
                    None => (first, 0),
                    Some(status) => (
                        fields::STATUS_DATA
                            .put(fields::STATUS_WRITE.put(first, 1), status.data() as u64),
                        status.address().get(),
                    ),
                }
            }
            Self::PageGroupResponse {
                source,
                pasid,
                group,
                response,
            } => {
                let first = fields::LOW_SOURCE.put(kind, source.get() as u64);
                let first = fields::RESPONSE.put(first, response.bits() as u64);
                let first = match pasid {
                    Some(pasid) => fields::PASID_PRESENT.put(with_pasid(first, pasid), 1),
                    None => first,
                };
                (first, fields::GROUP.put(0, group.get() as u64))
            }
        }
    }
}

const fn with_domain(word: u64, domain: DomainId) -> u64 {
    fields::DOMAIN.put(word, domain.get() as u64)
}

const fn with_pasid(word: u64, pasid: Pasid) -> u64 {
    fields::PASID.put(word, pasid.get() as u64)
}

const fn pages(selection: PageSelection) -> u64 {
    let word = fields::MASK.put(selection.address().get(), selection.mask().get() as u64);
    fields::HINT.put(word, selection.leaf() as u64)
}

const fn context_cache(word: u64, scope: ContextCacheScope) -> u64 {
    match scope {
        ContextCacheScope::Global => GRANULARITY.put(word, 0b01),
        ContextCacheScope::Domain(domain) => GRANULARITY.put(with_domain(word, domain), 0b10),
        ContextCacheScope::Device {
            domain,
            source,
            functions,
        } => {
            let word = GRANULARITY.put(with_domain(word, domain), 0b11);
            let word = fields::HIGH_SOURCE.put(word, source.get() as u64);
            fields::FUNCTION_MASK.put(word, functions.bits() as u64)
        }
    }
}

const fn pasid_cache(word: u64, scope: PasidCacheScope) -> u64 {
    match scope {
        PasidCacheScope::Domain(domain) => with_domain(word, domain),
        PasidCacheScope::Pasid { domain, pasid } => {
            GRANULARITY.put(with_pasid(with_domain(word, domain), pasid), 0b01)
        }
        PasidCacheScope::Global => GRANULARITY.put(word, 0b11),
    }
}

const fn iotlb(word: u64, scope: IotlbScope) -> (u64, u64) {
    match scope {
        IotlbScope::Global => (GRANULARITY.put(word, 0b01), 0),
        IotlbScope::Domain(domain) => (GRANULARITY.put(with_domain(word, domain), 0b10), 0),
        IotlbScope::Pages {
            domain,
            pages: selection,
        } => (
            GRANULARITY.put(with_domain(word, domain), 0b11),
            pages(selection),
        ),
    }
}

const fn interrupts(word: u64, range: Option<InterruptRange>) -> u64 {
    match range {
        None => word,
        Some(range) => {
            let word = fields::SELECTIVE.put(word, 1);
            let word = fields::INDEX.put(word, range.index().get() as u64);
            fields::INDEX_MASK.put(word, range.mask().get() as u64)
        }
    }
}
