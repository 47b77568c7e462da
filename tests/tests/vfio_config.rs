//! Configuration space, field by field.

use tests::edu::{device, igb, lone};
use vfio::pci::{Bar, Command, ExpressKind, HeaderLayout, PowerState, Status};
use vfio::{
    CapabilityId, Error, ExtendedCapabilityId, IrqKind, RegionFlags, RegionIndex, Register,
    Registers, Revocation,
};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_header_is_what_the_machine_was_given() {
    let edu = device(lone());
    let config = edu.config().unwrap();
    let header = config.header().unwrap();
    assert_eq!(header.ids, config.ids().unwrap());
    assert_eq!(header.ids.to_string(), "1234:11e8");
    assert_eq!(header.class.to_string(), "00ff00");
    assert_eq!(header.revision, 0x10);
    assert_eq!(header.layout, HeaderLayout::Endpoint);
    assert!(!header.multifunction);
    assert_eq!(header.subsystem.unwrap().to_string(), "1af4:1100");
    assert!(header.command.contains(Command::MEMORY));
    assert!(header.status.contains(Status::CAPABILITIES_LIST));
    assert_eq!(config.status().unwrap(), header.status);
    let bars: Vec<_> = header.bars().collect();
    assert!(
        matches!(
            bars[..],
            [(
                RegionIndex::BAR0,
                Bar::Memory {
                    is_64_bit: false,
                    prefetchable: false,
                    ..
                }
            )]
        ),
        "{bars:x?}"
    );
    drop((config, edu));
    // There is a region behind each, and it is of the kind that the register says.
    for function in [lone(), igb()] {
        let device = device(function);
        let header = device.config().unwrap().header().unwrap();
        assert!(header.bars().count() > 0);
        for (index, bar) in header.bars() {
            let info = device.region_info(index).unwrap();
            let mappable = info.flags.contains(RegionFlags::MMAP);
            assert_eq!(mappable, matches!(bar, Bar::Memory { .. }), "{info}");
        }
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn capabilities_say_what_their_ioctls_say() {
    let edu = device(lone());
    let config = edu.config().unwrap();
    let msi = config.msi().unwrap().unwrap();
    assert_eq!((msi.vectors, msi.is_64_bit, msi.enabled), (1, true, false));
    assert_eq!(
        u32::from(msi.vectors),
        edu.irq_info(IrqKind::Msi).unwrap().count
    );
    assert_eq!(config.msix().unwrap(), None);
    assert_eq!(config.power_management().unwrap(), None);
    assert_eq!(config.pci_express().unwrap(), None);
    assert_eq!(config.ats().unwrap(), None);
    assert_eq!(config.sriov().unwrap(), None);
    assert_eq!(config.vendor_capabilities().unwrap(), []);
    let refused = config.set_power_state(PowerState::D0);
    assert!(
        matches!(refused, Err(Error::NotTaken { .. })),
        "{refused:?}"
    );

    let igb = device(igb());
    let config = igb.config().unwrap();
    let msix = config.msix().unwrap().unwrap();
    let vectors = igb.irq_info(IrqKind::MsiX).unwrap().count;
    assert_eq!(u32::from(msix.vectors), vectors);
    let region = igb.region_info(msix.table.region).unwrap();
    assert!(msix.table.area.offset + msix.table.area.size <= region.size);
    assert!(region.msix_mappable);
    assert_eq!(msix.pending.region, msix.table.region);
    assert!(msix.pending.area.offset + msix.pending.area.size <= region.size);

    let express = config.pci_express().unwrap().unwrap();
    assert_eq!(express.kind, ExpressKind::Endpoint);
    assert!(express.function_level_reset);
    assert!(express.max_payload <= express.max_payload_supported);
    let sriov = config.sriov().unwrap().unwrap();
    assert_eq!(sriov.ids.to_string(), "8086:10ca");
    assert!(sriov.total >= 7 && !sriov.enabled && sriov.enabled_count == 0);
    assert_eq!(config.page_requests().unwrap(), None);
    assert_eq!(config.pasid().unwrap(), None);
    let places = [
        (CapabilityId::MSI_X, msix.offset),
        (CapabilityId::PCI_EXPRESS, express.offset),
    ];
    for (id, offset) in places {
        assert_eq!(config.find(id).unwrap(), Some(offset));
    }
    let place = config.find_extended(ExtendedCapabilityId::SRIOV).unwrap();
    assert_eq!(place, Some(sriov.offset));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn power_states_and_memory_decoding_are_set_and_seen() {
    let igb = device(igb());
    let config = igb.config().unwrap();
    let registers = igb.map_bar(RegionIndex::BAR0).unwrap();
    let state = || config.power_management().unwrap().unwrap().state;
    assert_eq!(state(), PowerState::D0);
    config.set_power_state(PowerState::D3).unwrap();
    assert_eq!(state(), PowerState::D3);
    let cause = |answer: vfio::Result<u32>| match answer {
        Err(Error::Revoked { cause, .. }) => cause,
        answer => panic!("{answer:?}"),
    };
    assert_eq!(cause(registers.read(8)), Revocation::PowerState);
    config.set_power_state(PowerState::D0).unwrap();
    assert_eq!(state(), PowerState::D0);

    config.disable_memory_decode().unwrap();
    assert!(!config.command().unwrap().contains(Command::MEMORY));
    assert_eq!(cause(registers.read(8)), Revocation::MemoryDecode);
    // What is set beside it leaves it off.
    config.enable_bus_master().unwrap();
    assert_eq!(cause(registers.read(8)), Revocation::MemoryDecode);
    config.disable_bus_master().unwrap();
    config.enable_memory_decode().unwrap();
    registers.read::<u32>(8).unwrap();

    // What an access under way asks for does not wait for who waits for the access.
    let access = registers.access().unwrap();
    assert!(matches!(
        config.disable_memory_decode(),
        Err(Error::AccessHeld)
    ));
    assert!(matches!(
        config.set_power_state(PowerState::D3),
        Err(Error::AccessHeld)
    ));
    std::thread::scope(|scope| {
        for off in [false, true] {
            let config = config.clone();
            scope.spawn(move || {
                match off {
                    true => config.disable_memory_decode().unwrap(),
                    false => config.set_power_state(PowerState::D3).unwrap(),
                };
            });
        }
        while registers.read::<u32>(8).is_ok() {
            std::thread::yield_now();
        }
        config.enable_bus_master().unwrap();
        access.read::<u32>(8).unwrap();
        drop(access);
    });
    config.disable_bus_master().unwrap();
    config.set_power_state(PowerState::D0).unwrap();
    config.enable_memory_decode().unwrap();
    registers.read::<u32>(8).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn registers_have_names_in_every_kind_of_space() {
    const IDENTIFICATION: Register<u32, vfio::ReadOnly> = Register::at(0);
    const LIVENESS: Register<u32> = Register::at(4);
    const IDS: Register<u32, vfio::ReadOnly> = Register::at(0);
    let edu = device(lone());
    let bar = edu.map_bar(RegionIndex::BAR0).unwrap();
    let region = edu.region(RegionIndex::BAR0).unwrap();
    let config = edu.config().unwrap();
    assert_eq!(config.get(IDS).unwrap(), 0x11e8_1234);
    assert_eq!(
        bar.get(IDENTIFICATION).unwrap(),
        region.get(IDENTIFICATION).unwrap()
    );
    bar.set(LIVENESS, 5).unwrap();
    assert_eq!(region.get_acquire(LIVENESS).unwrap(), !5);
    region.set_release(LIVENESS, 6).unwrap();
    let access = bar.access().unwrap();
    assert_eq!(access.get(LIVENESS).unwrap(), !6);
    let block = access.block(4..8).unwrap();
    assert_eq!(block.read::<u32>(0).unwrap(), !6);
    assert!(matches!(
        block.read::<u32>(4),
        Err(Error::OutOfBlock { .. })
    ));
    assert!(matches!(
        bar.block(0..bar.size() + 1),
        Err(Error::OutOfBlock { .. })
    ));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_example_prints_the_registers_it_is_asked_for() {
    let run = |arguments: &str| {
        let address = lone().to_string();
        let arguments = [address.as_str()].into_iter().chain(arguments.split(' '));
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let mut out = Vec::new();
        examples::bar_registers::run(&arguments, &mut out)
            .map(|()| String::from_utf8(out).unwrap())
            .map_err(|error| error.to_string())
    };
    let edu = device(lone());
    let liveness = edu.map_bar(RegionIndex::BAR0).unwrap();
    liveness.write(4, 0x0123_4567_u32).unwrap();
    drop((edu, liveness));
    let printed = run("bar0 0x0..0x8").unwrap();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines,
        ["BAR0: 0x100000 bytes, rwm", "0x0000: 010000ed fedcba98"]
    );
    let printed = run("config 0..20 16").unwrap();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "configuration space: 0x100 bytes, rw-");
    assert!(lines[1].starts_with("0x0000: 1234 11e8 "), "{printed}");
    assert_eq!(lines[2].len(), "0x0010: 0000 0000".len());
    assert_eq!(run("bar0 0x80..0x88 64").unwrap().lines().count(), 2);
    for wrong in ["bar6 0..4", "bar0 4", "bar0 0..4 24", "bar0"] {
        assert!(run(wrong).unwrap_err().starts_with("usage"), "{wrong}");
    }
    assert!(
        run("bar0 0x100000..0x100004")
            .unwrap_err()
            .contains("outside")
    );
    assert!(run("bar1 0..4").unwrap_err().contains("no BAR1"));
}
