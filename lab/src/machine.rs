//! The machines that QEMU emulates: each a board with an IOMMU (but one, that has none), and on all of them the same
//! devices that do DMA behind it, and one beside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::monitor;
use crate::qemu::Qemu;

/// Where the lone DMA engine sits: in an IOMMU group of its own.
pub(crate) const EDU: &str = "0000:00:04.0";
/// Where the pair of DMA engines sits: two functions of one slot, in one IOMMU group.
pub(crate) const EDU_PAIR: &str = "0000:00:05.0 0000:00:05.1";
/// Where the network card sits: it has a reset method, MSI-X and SR-IOV, which `edu` has not.
pub(crate) const IGB: &str = "0000:01:00.0";

/// Without it, `edu` reaches only the lowest 256 MiB of its address space.
const ALL_ADDRESSES: &str = "dma_mask=0xffffffffffffffff";

/// The kernel's parameters. Warnings stay off the console: the mock driver has so many that the serial port would set
/// the pace of the tests. The log keeps them all, and the guest's init looks there.
const PARAMETERS: &str = "panic=-1 loglevel=4 log_buf_len=2M hugepages=128";

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What its processors are.
    pub(crate) arch: &'static Arch,
    /// What it is, in QEMU's words: the board, the processors, the memory and the IOMMU.
    pub(crate) board: fn(&Qemu) -> Vec<String>,
    /// The kernel's parameters on it.
    pub(crate) parameters: &'static str,
    /// Whether the kernel gets another IORT than QEMU's: see [`crate::iort`].
    pub(crate) overrides_iort: bool,
}

// One is another only if it has its name.
impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Machine {
    /// Everything of it but the files of one boot, in QEMU's words.
    pub(crate) fn hardware(&self, qemu: &Qemu) -> Vec<String> {
        let mut hardware = (self.board)(qemu);
        hardware.extend(words(&["-nodefaults", "-no-user-config"]));
        hardware.extend(words(&["-display", "none", "-no-reboot"]));
        for device in [
            &format!("edu,addr=4.0,{ALL_ADDRESSES}"),
            &format!("edu,addr=5.0,multifunction=on,{ALL_ADDRESSES}"),
            &format!("edu,addr=5.1,{ALL_ADDRESSES}"),
            // A link that is no faster: of a faster one the kernel wants to be told that it is up again after a reset,
            // and QEMU does not tell it of an `igb`.
            "pcie-root-port,id=rp0,bus=pcie.0,addr=6.0,chassis=1,x-speed=5",
            "igb,bus=rp0",
            // One card of two functions, which have no reset but that of the bus they are on.
            "pcie-root-port,id=rp2,bus=pcie.0,addr=8.0,chassis=3",
            &format!("edu,bus=rp2,addr=0.0,multifunction=on,{ALL_ADDRESSES}"),
            &format!("edu,bus=rp2,addr=0.1,{ALL_ADDRESSES}"),
            // A card of two functions, each in an IOMMU group of its own (of this one the kernel knows that they do not
            // reach each other), which are reset together. The first says where the second is: QEMU's does not else.
            "pcie-root-port,id=rp3,bus=pcie.0,addr=a.0,chassis=4,x-speed=5",
            "igb,bus=rp3,addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on",
            "igb,bus=rp3,addr=0.1",
            // A host bridge that the IOMMU passes over: the DMA of what is behind it is by physical address.
            "pxb-pcie,id=bare,bus=pcie.0,addr=7.0,bus_nr=32,bypass_iommu=on",
            "pcie-root-port,id=rp1,bus=bare,chassis=2",
            &format!("edu,bus=rp1,{ALL_ADDRESSES}"),
            // One that the kernel has a driver for, behind the IOMMU, to be taken from it and given back.
            "virtio-rng-pci-non-transitional,bus=pcie.0,addr=9.0,iommu_platform=on",
        ] {
            hardware.extend(["-device".to_owned(), device.to_owned()]);
        }
        hardware
    }
}

/// Words of QEMU's.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The ways between a guest and the lab.
#[derive(Debug)]
pub(crate) struct Ports {
    /// The kernel's console, for nothing else.
    pub(crate) console: Port,
    /// What the program under test prints, byte for byte.
    pub(crate) program: Port,
    /// Reports to the lab.
    pub(crate) reports: Port,
    /// The kernel's whole log, if there is something in it that should not be.
    pub(crate) log: Port,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Port {
    /// Its name in the guest.
    pub(crate) name: &'static str,
    /// What it is in QEMU's words, which call the lab's end of it a chardev.
    pub(crate) device: &'static [&'static str],
}

/// The files of one boot.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    /// The files of a boot that has this directory for itself.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The guest's file system.
    pub(crate) fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }

    /// What the kernel says.
    pub(crate) fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// What the guest's init reports.
    pub(crate) fn reports(&self) -> PathBuf {
        self.directory.join("reports")
    }

    /// The kernel's whole log, if there is something wrong in it.
    pub(crate) fn kernel_log(&self) -> PathBuf {
        self.directory.join("kernel.log")
    }

    /// What QEMU itself says.
    pub(crate) fn emulator(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }

    /// The state of a machine that stood still.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The directory they are in.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// What is booted on a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot<'a> {
    /// By what.
    pub(crate) qemu: &'a Qemu,
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// The files of this boot.
    pub(crate) files: &'a Files,
    /// More kernel parameters.
    pub(crate) append: &'a str,
    /// Whether a person is at it.
    pub(crate) interactive: bool,
    /// The file that gets what the guest writes to its port for that, if it has one.
    pub(crate) keeps: Option<&'a Path>,
}

/// The arguments for QEMU. The program's output comes out of its standard output.
pub(crate) fn arguments(machine: &Machine, boot: Boot<'_>) -> Vec<OsString> {
    let hardware = machine.hardware(boot.qemu);
    let mut arguments: Vec<OsString> = hardware.into_iter().map(OsString::from).collect();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    let (files, ports) = (boot.files, &machine.arch.ports);
    add(&["-chardev", &to_file("console", &files.console())]);
    add(ports.console.device);
    add(&[
        "-chardev",
        &format!(
            "socket,id=monitor,path={},server=on,wait=off",
            monitor::SOCKET
        ),
        "-mon",
        "chardev=monitor,mode=readline",
    ]);
    if boot.interactive {
        // Ctrl-C goes to the guest; Ctrl-A X ends QEMU.
        add(&["-chardev", "stdio,id=program,mux=on,signal=off"]);
        add(&["-mon", "chardev=program,mode=readline"]);
    } else {
        add(&["-chardev", "stdio,id=program,signal=off"]);
    }
    add(ports.program.device);
    add(&["-chardev", &to_file("reports", &files.reports())]);
    add(ports.reports.device);
    add(&["-chardev", &to_file("log", &files.kernel_log())]);
    add(ports.log.device);
    if let Some(keeps) = boot.keeps {
        add(&["-device", "virtio-serial-pci,bus=pcie.0"]);
        add(&["-chardev", &to_file("keeps", keeps)]);
        add(&["-device", "virtserialport,chardev=keeps"]);
    }
    let parameters = format!(
        "console={} {} {PARAMETERS} {}",
        ports.console.name, machine.parameters, boot.append
    );
    add(&["-append", parameters.trim_end()]);
    arguments.extend(["-kernel".into(), boot.kernel.into()]);
    arguments.extend(["-initrd".into(), files.initramfs().into()]);
    arguments
}

/// A character device that writes to a file.
fn to_file(id: &str, path: &Path) -> String {
    // A comma ends a value, and two are one that does not.
    format!(
        "file,id={id},path={}",
        path.display().to_string().replace(',', ",,")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{PC, PC_WITHOUT_IOMMU, VIRT, VIRT_WITHOUT_NESTING};

    /// The command line of a boot.
    fn line(machine: &Machine) -> String {
        let qemu = Qemu {
            path: "qemu".into(),
            iommu: "intel-iommu,intremap=on".to_owned(),
        };
        let files = Files::new("/with,comma".into());
        let boot = Boot {
            qemu: &qemu,
            kernel: Path::new("/image"),
            files: &files,
            append: "",
            interactive: false,
            keeps: None,
        };
        let words = arguments(machine, boot);
        words.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn every_machine_has_the_devices_at_their_places() {
        for machine in [&PC, &PC_WITHOUT_IOMMU, &VIRT, &VIRT_WITHOUT_NESTING] {
            let line = line(machine);
            for part in [
                "edu,addr=4.0",
                "edu,addr=5.1",
                "igb,bus=rp0",
                "edu,bus=rp2,addr=0.1",
                "igb,bus=rp3,addr=0.1",
                "edu,bus=rp1",
                "virtio-rng-pci-non-transitional,bus=pcie.0,addr=9.0",
                "path=/with,,comma/console.log",
                "hugepages=128 -kernel /image",
            ] {
                assert!(line.contains(part), "{part} is not in {line}");
            }
            assert!(!line.contains("-mon chardev=program"));
        }
    }

    #[test]
    fn a_machine_has_its_own_board_iommu_and_ports() {
        for (machine, parts) in [
            (
                &PC,
                [
                    "-device intel-iommu,intremap=on",
                    "console=ttyS0 nox2apic no_timer_check tsc=reliable clocksource=hpet",
                    "-serial chardev:log",
                ],
            ),
            (
                &VIRT,
                [
                    "-M virt,gic-version=3,its=on,iommu=smmuv3",
                    "console=ttyAMA0",
                    "virtconsole,chardev=log",
                ],
            ),
            (
                &VIRT_WITHOUT_NESTING,
                ["-M virt-9.1,", "acpi=force", "-serial chardev:console"],
            ),
        ] {
            let line = line(machine);
            for part in parts {
                assert!(line.contains(part), "{part} is not in {line}");
            }
        }
        assert!(!line(&PC_WITHOUT_IOMMU).contains("intel-iommu"));
    }
}
