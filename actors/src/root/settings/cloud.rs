//! In which cloud the host is, as files on it tell: what cloud-init wrote when it began, and else the firmware's tables.
//! Nobody is asked over the network.

use std::path::Path;

use holdfast_wire::event::{Cloud, Named, Typed};
use serde_json::Value;

use super::os::inside;

/// What cloud-init learned (`cloud-init query`), without what is secret.
const INSTANCE: &str = "run/cloud-init/instance-data.json";
/// What the firmware says (SMBIOS), by `CONFIG_DMIID` of the kernel.
const FIRMWARE: &str = "sys/class/dmi/id";
/// Where the kinds of data source that cloud-init knows have what it does not bring into one form.
const MACHINE_TYPES: [&str; 4] = [
    "/ds/dynamic/instance_identity/document/instanceType",
    "/ds/meta_data/instance-type",
    "/ds/meta_data/instance_type",
    "/ds/meta_data/imds/compute/vmSize",
];
const ACCOUNTS: [&str; 4] = [
    "/ds/dynamic/instance_identity/document/accountId",
    "/ds/meta_data/imds/compute/subscriptionId",
    "/ds/meta_data/project_id",
    "/ds/meta_data/owner-account-id",
];
/// Names by which cloud-init says that there is no cloud, or that it does not know which.
const NO_CLOUDS: [&str; 4] = ["unknown", "none", "nocloud", "configdrive"];

/// Reads it below the host's root directory; `None`: nothing tells of a cloud.
pub(super) fn read(root: &Path) -> Option<Cloud> {
    let text = |place: &str| inside(root, place).ok();
    let firmware = |name: &str| {
        let text = text(&format!("{FIRMWARE}/{name}"))?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let told = text(INSTANCE).and_then(|text| by_cloud_init(&text));
    told.or_else(|| by_firmware(firmware))
}

/// By `instance-data.json`.
fn by_cloud_init(text: &str) -> Option<Cloud> {
    let data: Value = serde_json::from_str(text).ok()?;
    let at = |pointer: &str| {
        let text = data.pointer(pointer)?.as_str()?;
        // What it has cut out since it may be secret.
        let is_told = !text.is_empty() && !text.starts_with("redacted");
        is_told.then(|| text.to_owned())
    };
    let first = |pointers: &[&str]| pointers.iter().copied().find_map(at);
    let name = at("/v1/cloud_name").filter(|name| !NO_CLOUDS.contains(&&*name.to_lowercase()))?;
    Some(Cloud {
        provider: if name == "gce" {
            "gcp".to_owned()
        } else {
            name
        },
        region: at("/v1/region"),
        availability_zone: at("/v1/availability_zone"),
        instance: at("/v1/instance_id").map(Named::new),
        machine: first(&MACHINE_TYPES).map(Typed::new),
        account: first(&ACCOUNTS).map(Named::new),
    })
}

/// By what the firmware of virtual machines says of who made them.
fn by_firmware(of: impl Fn(&str) -> Option<String>) -> Option<Cloud> {
    let vendor = of("sys_vendor").unwrap_or_default();
    let product = of("product_name");
    let is_product = |start: &str| product.as_ref().is_some_and(|it| it.starts_with(start));
    let chassis = of("chassis_asset_tag");
    let (provider, instance, machine) = match &*vendor {
        // Of machines on Nitro; others have `HVM domU` for a product, and no number.
        "Amazon EC2" => {
            let id = of("board_asset_tag").filter(|tag| tag.starts_with("i-"));
            ("aws", id, product)
        }
        // Also the vendor of machines that run at home: the tag is Azure's alone.
        "Microsoft Corporation"
            if chassis.as_deref() == Some("7783-7084-3265-9085-8269-3286-77") =>
        {
            ("azure", None, None)
        }
        "Google" if is_product("Google Compute Engine") => ("gcp", None, None),
        "DigitalOcean" => ("digitalocean", of("product_serial"), None),
        "Hetzner" => ("hetzner", of("product_serial"), None),
        "Alibaba Cloud" => ("aliyun", of("product_serial"), None),
        "Scaleway" => ("scaleway", of("product_uuid"), None),
        "Vultr" => ("vultr", of("product_serial"), None),
        _ if chassis.as_deref() == Some("OracleCloud.com") => ("oracle", None, None),
        _ if is_product("OpenStack") => ("openstack", of("product_uuid"), None),
        _ => return None,
    };
    Some(Cloud {
        provider: provider.to_owned(),
        region: None,
        availability_zone: None,
        instance: instance.map(Named::new),
        machine: machine.map(Typed::new),
        account: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn of_cloud_init(data: &Value) -> Option<Value> {
        by_cloud_init(&data.to_string()).map(|cloud| json!(cloud))
    }

    #[test]
    fn what_cloud_init_wrote_is_understood() {
        let amazon = json!({
            "base64_encoded_keys": [], "sensitive_keys": ["ds/meta_data/iam/security_credentials"],
            "ds": {
                "dynamic": {"instance_identity": {"document": {"accountId": "123456789012", "architecture": "x86_64",
                    "instanceId": "i-0d2d7ac1a3f3e1d5a", "instanceType": "m5.large", "region": "us-east-2"}}},
                "meta_data": {"ami_id": "ami-03cf127a", "instance_type": "m5.large",
                    "iam": {"security_credentials": "redacted for non-root user"}},
            },
            "v1": {"availability_zone": "us-east-2b", "cloud_id": "aws", "cloud_name": "aws", "distro": "ubuntu",
                "instance_id": "i-0d2d7ac1a3f3e1d5a", "platform": "ec2", "region": "us-east-2"},
        });
        assert_eq!(
            of_cloud_init(&amazon),
            Some(
                json!({"provider": "aws", "region": "us-east-2", "availability_zone": "us-east-2b",
                "instance": {"id": "i-0d2d7ac1a3f3e1d5a"}, "machine": {"type": "m5.large"},
                "account": {"id": "123456789012"}})
            )
        );
        let azure = json!({
            "ds": {"meta_data": {"imds": {"compute": {"location": "westeurope", "vmSize": "Standard_D2s_v3",
                "subscriptionId": "8d10da13-8125-4ba9-a717-bf7490507b3d"}}}},
            "v1": {"availability_zone": "", "cloud_name": "azure", "region": "westeurope",
                "instance_id": "02aab8a4-74ef-476e-8182-f6d2ba4166a6"},
        });
        let azure = of_cloud_init(&azure).unwrap();
        assert_eq!(azure["machine"]["type"], "Standard_D2s_v3");
        assert_eq!(azure.get("availability_zone"), None);
        let google = json!({"v1": {"cloud_name": "gce", "availability_zone": "europe-west1-b", "region": null}});
        assert_eq!(
            of_cloud_init(&google),
            Some(json!({"provider": "gcp", "availability_zone": "europe-west1-b"}))
        );
    }

    #[test]
    fn where_nothing_tells_of_a_cloud_there_is_none() {
        let at_home = json!({"v1": {"cloud_name": "unknown", "instance_id": "nocloud", "platform": "nocloud"}});
        for text in ["", "{", "[]", "{\"v1\": 7}", &at_home.to_string()] {
            assert!(by_cloud_init(text).is_none(), "{text}");
        }
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).is_none());
        let firmware = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            move |name: &str| {
                let pair = pairs.iter().find(|(of, _)| of == name);
                pair.map(|(_, value)| value.clone())
            }
        };
        let lenovo = firmware(&[("sys_vendor", "LENOVO"), ("product_uuid", "1")]);
        assert!(by_firmware(lenovo).is_none());
        let hyper_v = firmware(&[
            ("sys_vendor", "Microsoft Corporation"),
            ("product_name", "Virtual Machine"),
        ]);
        assert!(by_firmware(hyper_v).is_none());
    }

    #[test]
    fn the_firmware_tells_where_cloud_init_does_not() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(FIRMWARE);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in [
            ("sys_vendor", "Amazon EC2\n"),
            ("product_name", "m5.large\n"),
            ("board_asset_tag", "i-0d2d7ac1a3f3e1d5a\n"),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        let cloud = json!(read(root.path()).unwrap());
        assert_eq!(
            cloud,
            json!({"provider": "aws", "instance": {"id": "i-0d2d7ac1a3f3e1d5a"}, "machine": {"type": "m5.large"}})
        );
        let instance = root.path().join(INSTANCE);
        fs::create_dir_all(instance.parent().unwrap()).unwrap();
        fs::write(
            &instance,
            r#"{"v1": {"cloud_name": "aws", "region": "us-east-2"}}"#,
        )
        .unwrap();
        assert_eq!(
            read(root.path()).unwrap().region.as_deref(),
            Some("us-east-2")
        );
    }
}
