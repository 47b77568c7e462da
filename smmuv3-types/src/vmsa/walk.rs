//! A walk through the tables.

use hardware_records::bits;

use super::access::{Forbidden, becomes_writable};
use crate::{
    Access, AddressSize, Context, Entry, InputAddress, Ipa, LeafDescriptor, Level, MemoryType,
    Permissions, Rights, TableUpdate, Tree,
};

/// A walk through the tables that waits for a descriptor.
///
/// It reads no memory: it says where the descriptor is, and goes on with what was read there.
///
/// ```
/// use smmuv3_types::{Access, Context, WalkFault, InputAddress, Ipa, Translation, WalkStep};
///
/// fn translate(
///     context: &Context,
///     address: InputAddress,
///     access: Access,
///     read: impl Fn(Ipa) -> [u8; 8],
/// ) -> Result<Translation, WalkFault> {
///     let mut walk = context.walk(address, access)?;
///     loop {
///         match walk.resume(read(walk.address()))? {
///             WalkStep::Read(next) => walk = next,
///             WalkStep::Done(translation) => return Ok(translation),
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Walk<'a> {
    context: &'a Context,
    tree: &'a Tree,
    input: InputAddress,
    access: Access,
    level: Level,
    address: Ipa,
    forbidden: Forbidden,
}

/// What comes next of a walk.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub enum WalkStep<'a> {
    /// Read the next descriptor.
    Read(Walk<'a>),
    /// It is done.
    Done(Translation),
}

/// Where an address goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Translation {
    /// Where it goes.
    pub output: Ipa,
    /// How many of its low bits are those of the input: the size of the block or page.
    pub span_bits: u32,
    /// The level of the block or page.
    pub level: Level,
    /// The block or page.
    pub leaf: LeafDescriptor,
    /// Where its descriptor is.
    pub descriptor: Ipa,
    /// What may be done with it.
    pub permissions: Permissions,
    /// What memory it is.
    pub memory: MemoryType,
    /// What the SMMU writes over the descriptor, if `CD.HA` or `CD.HD` has it do that: the access
    /// flag set, or the page made writable since it is written.
    pub update: Option<LeafDescriptor>,
}

/// A transaction faults in stage 1. What becomes of it is in [`Context::faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("stage 1 {kind} on {level:?}")]
pub struct WalkFault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The level at which it was found. Level 0 for an address that no tree takes.
    pub level: Level,
}

/// Kinds of faults: the four that `CD.A`, `CD.R` and `CD.S` are about (5.5, 7.3.13 to 7.3.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// `F_TRANSLATION`: the address is outside of the trees, or nothing is mapped there.
    Translation,
    /// `F_ADDR_SIZE`: a descriptor has an address beyond the output size.
    AddressSize,
    /// `F_ACCESS`: the access flag is 0.
    AccessFlag,
    /// `F_PERMISSION`: the page does not allow it.
    Permission,
}

impl core::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Translation => "translation fault",
            Self::AddressSize => "address size fault",
            Self::AccessFlag => "access flag fault",
            Self::Permission => "permission fault",
        })
    }
}

impl Context {
    /// Begins to translate an address, for an access (3.4, D8.2).
    ///
    /// # Errors
    /// A translation fault: the address is outside of the trees, its tree is switched off
    /// (`CD.EPDx`), or closed to the unprivileged (`CD.E0PDx`).
    pub fn walk(&self, input: InputAddress, access: Access) -> Result<Walk<'_>, WalkFault> {
        let outside = WalkFault {
            kind: FaultKind::Translation,
            level: Level::Level0,
        };
        let is_high = input.get() >> 55 & 1 == 1;
        let tree = if is_high { &self.high } else { &self.low };
        let tree = tree.as_ref().ok_or(outside)?;
        // From the first bit that the tree does not take to bit 63, or 55: all as bit 55.
        let above = if tree.top_byte_ignored {
            u64::MAX >> 8
        } else {
            u64::MAX
        };
        let above = above & !bits::low(tree.geometry.input_bits());
        let expected = if is_high { above } else { 0 };
        if input.get() & above != expected {
            return Err(outside);
        }
        if tree.unprivileged_denied && !access.privileged {
            return Err(outside);
        }
        let level = tree.geometry.start();
        Ok(Walk {
            context: self,
            tree,
            input,
            access,
            level,
            address: tree.geometry.descriptor(level, tree.table, input),
            forbidden: Forbidden::default(),
        })
    }
}

impl<'a> Walk<'a> {
    /// Where the 8 bytes of the next descriptor are.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.address
    }

    /// The level of the next descriptor.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The tree that is walked: how its tables are to be read.
    #[must_use]
    pub const fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Goes on with the bytes of the descriptor at [`Self::address`], in the order of the table.
    ///
    /// # Errors
    /// The access faults.
    pub fn resume(self, descriptor: [u8; 8]) -> Result<WalkStep<'a>, WalkFault> {
        let context = self.context;
        let granule = self.tree.geometry.granule();
        let bits = if context.big_endian {
            u64::from_be_bytes(descriptor)
        } else {
            u64::from_le_bytes(descriptor)
        };
        // Whether there are wide addresses is for the SMMU to say, how many bits are used for CD.
        let has = if context.wide {
            AddressSize::Bits52
        } else {
            AddressSize::Bits48
        };
        match Entry::decode(bits, granule, self.level, has) {
            Entry::Invalid => Err(self.fault(FaultKind::Translation)),
            Entry::Table(table) => {
                let address = table.table(granule, context.wide);
                let Some(level) = self.level.next() else {
                    return Err(self.fault(FaultKind::Translation));
                };
                if !context.output.holds(address) {
                    return Err(self.fault(FaultKind::AddressSize));
                }
                Ok(WalkStep::Read(Self {
                    level,
                    address: self.tree.geometry.descriptor(level, address, self.input),
                    forbidden: self.forbidden.and(&table),
                    ..self
                }))
            }
            Entry::Leaf(leaf) => self.finish(leaf).map(WalkStep::Done),
        }
    }

    fn finish(self, leaf: LeafDescriptor) -> Result<Translation, WalkFault> {
        let context = self.context;
        let granule = self.tree.geometry.granule();
        let output = leaf.output(granule, self.level, context.wide);
        if !context.output.holds(output) {
            return Err(self.fault(FaultKind::AddressSize));
        }
        if !leaf.af() && context.access_flag_faults {
            return Err(self.fault(FaultKind::AccessFlag));
        }
        let permissions = self.forbidden.permissions(&leaf, context, self.tree);
        if !permissions.allow(self.access) {
            return Err(self.fault(FaultKind::Permission));
        }
        let mut updated = leaf;
        if context.update != TableUpdate::None {
            updated = updated.with_af(true);
        }
        if self.access.rights.contains(Rights::WRITE) && becomes_writable(&leaf, context) {
            updated = updated.with_read_only(false);
        }
        let span_bits = granule.span_bits(self.level);
        Ok(Translation {
            output: Ipa::masked(output.get() | self.input.get() & bits::low(span_bits)),
            span_bits,
            level: self.level,
            leaf,
            descriptor: self.address,
            permissions,
            memory: context.mair.memory_type(leaf.attr_indx()),
            update: (updated != leaf).then_some(updated),
        })
    }

    const fn fault(&self, kind: FaultKind) -> WalkFault {
        WalkFault {
            kind,
            level: self.level,
        }
    }
}
