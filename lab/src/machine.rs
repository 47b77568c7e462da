//! The machine that QEMU emulates: a PC with a VT-d IOMMU and devices that do DMA behind it, and one beside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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
/// Without x2APIC the processors reach their interrupt controllers by memory, under QEMU's lock. With it QEMU 10.0 lost
/// an end of interrupt now and then, in one boot of five: from then on no device's interrupt got through.
const PARAMETERS: &str = "console=ttyS0 panic=-1 nox2apic loglevel=4 log_buf_len=2M hugepages=128";

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

/// The arguments for QEMU. The program's output comes out of its standard output.
pub(crate) fn arguments(
    qemu: &Qemu,
    kernel: &Path,
    files: &Files,
    append: &str,
    interactive: bool,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    // Software emulation everywhere, so that a test fails here as it fails there. Not the microvm machine: it hangs at
    // times. An IOMMU that remaps interrupts needs the split interrupt controller.
    add(&[
        "-accel",
        "tcg,thread=multi",
        "-M",
        "q35,kernel-irqchip=split",
    ]);
    // With 3 GiB there is memory above 4 GiB, too.
    add(&["-smp", "2", "-m", "3G"]);
    add(&[
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    add(&["-device", &qemu.iommu]);
    add(&["-device", &format!("edu,addr=4.0,{ALL_ADDRESSES}")]);
    add(&[
        "-device",
        &format!("edu,addr=5.0,multifunction=on,{ALL_ADDRESSES}"),
    ]);
    add(&["-device", &format!("edu,addr=5.1,{ALL_ADDRESSES}")]);
    add(&[
        "-device",
        "pcie-root-port,id=rp0,bus=pcie.0,addr=6.0,chassis=1",
    ]);
    add(&["-device", "igb,bus=rp0"]);
    // A host bridge that the IOMMU passes over: the DMA of what is behind it is by physical address.
    add(&[
        "-device",
        "pxb-pcie,id=bare,bus=pcie.0,addr=7.0,bus_nr=32,bypass_iommu=on",
    ]);
    add(&["-device", "pcie-root-port,id=rp1,bus=bare,chassis=2"]);
    add(&["-device", &format!("edu,bus=rp1,{ALL_ADDRESSES}")]);
    // In the order of the guest's serial ports.
    add(&[
        "-chardev",
        &to_file("console", &files.console()),
        "-serial",
        "chardev:console",
    ]);
    add(&[
        "-chardev",
        &format!(
            "socket,id=monitor,path={},server=on,wait=off",
            monitor::SOCKET
        ),
        "-mon",
        "chardev=monitor,mode=readline",
    ]);
    if interactive {
        // Ctrl-C goes to the guest; Ctrl-A X ends QEMU.
        add(&["-chardev", "stdio,id=program,mux=on,signal=off"]);
        add(&["-mon", "chardev=program,mode=readline"]);
    } else {
        add(&["-chardev", "stdio,id=program,signal=off"]);
    }
    add(&["-serial", "chardev:program"]);
    add(&[
        "-chardev",
        &to_file("reports", &files.reports()),
        "-serial",
        "chardev:reports",
    ]);
    add(&[
        "-chardev",
        &to_file("log", &files.kernel_log()),
        "-serial",
        "chardev:log",
    ]);
    add(&["-append", format!("{PARAMETERS} {append}").trim_end()]);
    arguments.extend(["-kernel".into(), kernel.into()]);
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

    #[test]
    fn the_command_line_has_the_devices_at_their_places() {
        let qemu = Qemu {
            path: "qemu".into(),
            iommu: "intel-iommu,intremap=on".to_owned(),
        };
        let files = Files::new("/with,comma".into());
        let words = arguments(&qemu, Path::new("/vmlinux"), &files, "", false);
        let line = words.join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        for part in [
            "-device intel-iommu,intremap=on",
            "edu,addr=4.0",
            "edu,addr=5.1",
            "igb,bus=rp0",
            "edu,bus=rp1",
            "path=/with,,comma/console.log",
            "hugepages=128 -kernel /vmlinux",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("-mon chardev=program"));
    }
}
