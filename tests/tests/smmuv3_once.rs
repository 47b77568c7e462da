//! The program that is written once for all formats, on the lab's SMMUv3, which translates: what is seen is where a device's
//! DMA goes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use examples::guest::AddressSpace;
use iommufd::smmuv3::{Invalidation, Smmuv3, StaleAsids};
use iommufd::{Leaks, NestedHwPt};
use smmuv3_types::{Asid, InputAddress, Ipa, NestedSte};
use tests::once::{Finds, Guest, OnViommu, Tables, run};
use tests::raw;
use tests::smmu::{Guest as Machine, VA, translate};

const ASIDS: [u16; 2] = [1, 2];

/// An address space of the guest's, where [`VA`] leads to either of two pages.
struct Space<'m> {
    asid: u16,
    space: AddressSpace<'m>,
    pages: [Ipa; 2],
}

impl<'m> Space<'m> {
    fn new(machine: &'m Machine, asid: u16) -> Self {
        Self {
            asid,
            space: machine.space(asid),
            pages: machine.pages(),
        }
    }
}

/// A guest with two address spaces.
struct OnSmmu<'m> {
    machine: &'m Machine,
    spaces: [Space<'m>; 2],
}

impl<'m> OnSmmu<'m> {
    fn new(machine: &'m Machine) -> Self {
        Self {
            machine,
            spaces: ASIDS.map(|asid| Space::new(machine, asid)),
        }
    }

    fn space(&self, tables: Tables) -> &Space<'m> {
        let [first, second] = &self.spaces;
        match tables {
            Tables::First => first,
            Tables::Second => second,
        }
    }
}

impl Guest for OnSmmu<'_> {
    type Place = OnViommu<Smmuv3>;

    fn config(&self, tables: Tables) -> NestedSte {
        let Space { space, pages, .. } = self.space(tables);
        space.map(VA, pages[0]).unwrap();
        translate(space)
    }

    fn change(&self, tables: Tables) -> Vec<Invalidation> {
        let Space { asid, space, pages } = self.space(tables);
        space.map(VA, pages[1]).unwrap();
        let (asid, page) = (Asid::new(*asid), InputAddress::new(VA.get() & !0xfff));
        let of_page = Invalidation::tlbi_nh_va(asid, page, true, None, self.machine.limits());
        vec![of_page.unwrap()]
    }

    fn assert_finds(&self, finds: Finds, table: Option<&NestedHwPt<Smmuv3>>) {
        assert_eq!(table.is_none(), finds == Finds::Nothing);
        let there = match finds {
            Finds::Nothing => None,
            Finds::Tables(tables) => Some(self.space(tables).pages[0]),
            Finds::Changed(tables) => Some(self.space(tables).pages[1]),
        };
        let pages: Vec<_> = self.spaces.iter().flat_map(|space| space.pages).collect();
        assert_eq!(self.machine.lands(VA, &pages), there, "{finds:?}");
    }
}

#[test]
#[ignore = "needs an SMMUv3 that nests: cargo lab test --arch aarch64"]
fn the_program_of_all_formats_runs_where_hardware_translates() {
    let machine = Machine::new();
    let objects = raw::objects(&machine.iommufd);
    // The guest uses its ASIDs again without a word.
    let stale = || StaleAsids::Invalidate(ASIDS.map(Asid::new).to_vec());
    let place = OnViommu::new(&machine.smmu, &machine.vdevice, stale);
    run(&OnSmmu::new(&machine), place, machine.device.iommu()).unwrap();
    assert!(!machine.device.iommu().is_attached());
    machine.told_nothing();
    assert_eq!(raw::objects(&machine.iommufd), objects);
    assert_eq!(machine.iommufd.leaks(), Leaks::default());
}
