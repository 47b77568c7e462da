//! The kernel's own tests, of `docs/kernel-selftests.md`.

use crate::text::{assert_clean, has_test, out_of_order, read, references, rows};

#[test]
fn every_test_of_the_kernels_has_a_row_with_its_counterpart() {
    let path = "docs/kernel-selftests.md";
    let text = read(path).unwrap();
    let functions = KERNELS.iter().flat_map(|(fixture, functions)| {
        let functions = functions.split_whitespace();
        functions.map(move |function| format!("`{fixture}` `{function}`"))
    });
    let expected: Vec<_> = functions.collect();
    assert_eq!(expected.len(), 66 + 8, "as the kernel has them");

    let of_a_function = |row: &Vec<&str>| row.len() > 3 && row[1].starts_with('`');
    let rows: Vec<_> = rows(&text).filter(of_a_function).collect();
    let names: Vec<_> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut complaints = out_of_order(&names, &expected);
    // Those of the first table have a number of cases.
    let cases = rows.iter().flat_map(|row| row[2].parse::<u32>());
    if cases.sum::<u32>() != 246 {
        complaints.push("give each function of iommufd.c as many cases as it has: 246".to_owned());
    }
    complaints.extend(rows.iter().filter_map(|row| {
        let ours = row
            .iter()
            .skip(2)
            .find(|cell| cell.parse::<u32>().is_err())?;
        match references(ours).next() {
            Some((reference, _)) => not_a_counterpart(reference),
            None => Some(format!(
                "{} {}: name its test, in backticks",
                row[0], row[1]
            )),
        }
    }));
    assert_clean(path, &complaints);
}

/// The functions of the kernel's tests in their order, by fixture.
const KERNELS: &[(&str, &str)] = &[
    (
        "iommufd",
        "simple_close cmd_fail cmd_length cmd_ex_fail global_options",
    ),
    ("change_process", "basic"),
    (
        "iommufd_ioas",
        "ioas_auto_destroy ioas_destroy alloc_hwpt_nested hwpt_attach ioas_area_destroy \
         ioas_area_auto_destroy get_hw_info area unmap_fully_contained_areas area_auto_iova \
         reserved_overflow area_allowed copy_area iova_ranges access_domain_destory access_pin \
         access_pin_unmap access_rw access_rw_unaligned fork_gone fork_present \
         ioas_option_huge_pages ioas_iova_alloc ioas_align_change copy_sweep dmabuf_simple \
         dmabuf_revoke",
    ),
    (
        "iommufd_mock_domain",
        "basic ro_unshare all_aligns all_aligns_copy user_copy replace alloc_hwpt",
    ),
    (
        "iommufd_dirty_tracking",
        "enforce_dirty set_dirty_tracking pasid_set_dirty_tracking device_dirty_capability \
         get_dirty_bitmap get_dirty_bitmap_no_clear",
    ),
    (
        "iommufd",
        "simple_ioctls unmap_cmd map_cmd info_cmd set_iommu_cmd vfio_ioas",
    ),
    (
        "vfio_compat_mock_domain",
        "simple_close option_huge_pages get_info map huge_map",
    ),
    (
        "iommufd_viommu",
        "viommu_auto_destroy viommu_negative_tests viommu_alloc_nested_iopf \
         viommu_alloc_with_data vdevice_alloc vdevice_cache hw_queue vdevice_tombstone",
    ),
    ("iommufd_device_pasid", "pasid_attach"),
    (
        "basic_fail_nth",
        "basic map_domain map_file_domain map_two_domains access_rw access_pin \
         access_pin_domain device",
    ),
];

/// Why a reference is none to a test in `kernel_selftests`: `fixture::function`, or
/// `fixture::function::*` for one in as many variants as the fixture has.
fn not_a_counterpart(reference: &str) -> Option<String> {
    const FOLDER: &str = "tests/tests/kernel_selftests";
    let (test, every) = match reference.strip_suffix("::*") {
        Some(test) => (test, true),
        None => (reference, false),
    };
    let found = test.split_once("::").is_some_and(|(fixture, name)| {
        let module = read(&format!("{FOLDER}/{fixture}.rs")).unwrap_or_default();
        match every {
            true => is_per_variant(&module, name),
            false => has_test(&module, name),
        }
    });
    (!found).then(|| format!("no test in {FOLDER} is called {reference}: correct the reference"))
}

/// Whether the module of a fixture makes a test of this name for each variant.
fn is_per_variant(fixture: &str, name: &str) -> bool {
    let lists = fixture.split("per_variant! {").skip(1);
    let mut lists = lists.filter_map(|list| list.split_once('}'));
    lists.any(|(list, _)| list.split([' ', ',', '\n']).any(|word| word == name))
}
