//! The report for programs. What is not known is `null`, or an empty list.

use std::fmt::Display;

use serde_json::{Value, json};

use super::{Entry, Survey, state};

/// The whole survey.
#[must_use]
pub fn report(survey: &Survey) -> Value {
    json!({
        "iommus": list(&survey.iommus, |unit| json!({
            "name": unit.name,
            "kind": unit.kind.to_string(),
            "devices": unit.devices,
        })),
        "groups": list(&survey.groups, |group| json!({
            "id": group.id.get(),
            "type": group.kind.to_string(),
            "devices": list(&group.devices, |device| json!({
                "name": device.name,
                "driver": device.driver,
                "vfio": device.vfio,
            })),
            "reserved": list(&group.reserved, |region| json!({
                "first": format!("{:#x}", region.range.start().get()),
                "last": format!("{:#x}", region.range.last().get()),
                "kind": region.kind.to_string(),
            })),
        })),
        "functions": list(&survey.functions, function),
        "other_vfio_devices": list(&survey.others, |node| json!({
            "name": node.name,
            "path": node.path,
            "device": node.device,
            "bus": node.bus,
            "driver": node.driver,
            "group": node.group.map(|group| group.get()),
        })),
    })
}

fn function(entry: &Entry) -> Value {
    let readiness = &entry.readiness;
    let function = readiness.function();
    json!({
        "address": function.address.to_string(),
        "ids": text(function.ids),
        "subsystem": text(function.subsystem),
        "class": text(function.class),
        "driver": function.driver,
        "iommu": function.iommu,
        "group": function.group.map(|group| group.get()),
        "numa_node": function.numa_node,
        "reset_methods": list(&function.reset_methods, |method| method.to_string().into()),
        "physical_function": text(function.physical_function),
        "virtual_functions": list(&function.virtual_functions, |address| address.to_string().into()),
        "total_virtual_functions": function.total_virtual_functions,
        "needs_vf_token": function.needs_vf_token,
        "vfio": function.vfio,
        "node": function.node(),
        "msi_isolation": readiness.msi_isolation().to_string(),
        "users": list(&entry.users, |user| json!({ "process": user.process, "name": user.name })),
        "ready": readiness.is_ready(),
        "blockers": list(readiness.blockers(), |blocker| json!({
            "short": state::word(blocker),
            "text": blocker.to_string(),
        })),
        "iommu_says": entry.iommu.as_ref().map(|answer| match answer {
            Ok(answer) => json!({ "answer": answer }),
            Err(error) => json!({ "error": error }),
        }),
    })
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}
