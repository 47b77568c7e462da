//! Reading what a kernel said: whether it misbehaved, and where.

/// What a kernel says when something in it went wrong.
const SIGNS: &[&str] = &["WARNING:", "BUG:", "Oops", "Kernel panic"];

/// Lines that have such a sign and are none. Empty: every entry needs a reason beside it.
const ALLOWED: &[&str] = &[];

/// The most lines that are shown of one of them.
const LONGEST: usize = 40;

/// The places of a log in which a kernel says that something in it went wrong, each with what follows it.
pub(crate) fn splats(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    let mut splats = Vec::new();
    let mut next = 0;
    while let Some(start) = (next..lines.len()).find(|&index| is_sign(lines[index])) {
        let end = (start + 1..lines.len())
            .take(LONGEST)
            .find(|&index| lines[index].contains("---[ end ") || is_sign(lines[index]))
            .unwrap_or(lines.len().min(start + LONGEST));
        // A line that ends a report belongs to it; one that starts the next does not.
        let end = if lines
            .get(end)
            .is_some_and(|line| line.contains("---[ end "))
        {
            end + 1
        } else {
            end
        };
        splats.push(lines[start..end].join("\n"));
        next = end;
    }
    splats
}

fn is_sign(line: &str) -> bool {
    SIGNS.iter().any(|sign| line.contains(sign))
        && !ALLOWED.iter().any(|allowed| line.contains(allowed))
}

/// Whether a console ends in a panic.
pub(crate) fn panicked(console: &str) -> bool {
    console.contains("Kernel panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &str = "[    1.0] fine
[    2.0] ------------[ cut here ]------------
[    2.0] WARNING: drivers/iommu/iommufd/main.c:1 at iommufd_x+0x1/0x2, CPU#0: t/9
[    2.1] Call Trace:
[    2.2] ---[ end trace 0000000000000000 ]---
[    3.0] fine again
[    4.0] BUG: kernel NULL pointer dereference, address: 0
[    4.1] Oops: Oops: 0002 [#1] SMP
";

    #[test]
    fn finds_each_splat_with_its_trace() {
        let splats = splats(WARNING);
        assert_eq!(splats.len(), 3);
        assert!(
            splats[0].starts_with("[    2.0] WARNING:") && splats[0].ends_with("]---"),
            "{}",
            splats[0]
        );
        assert!(splats[1].contains("BUG:") && splats[2].contains("Oops"));
    }

    #[test]
    fn a_healthy_log_has_none() {
        assert!(splats("[    1.0] DMAR: [DMA Write] Request device [00:04.0]\r\n[ 2.0] reboot: Power down\n").is_empty());
        assert!(!panicked("[    1.0] fine"));
        assert!(panicked(
            "[    1.0] Kernel panic - not syncing: sysrq triggered crash"
        ));
    }
}
