//! The codes of problems: stable names that scripts may rely on, documented in docs/config.md.
//!
//! A code decides the severity. Codes are never renamed or given another meaning.

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is done with this config.
    Error,
    /// Worth knowing; the config can be used.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $severity:ident $name:literal $meaning:literal;)+) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

codes! {
    // Sources that can't be read as a config.
    Unavailable Error "unavailable" "The source can't be read or fetched.";
    Empty Error "empty" "The source says nothing.";
    TooLarge Error "too-large" "The source is larger than 1 MiB, which no config is.";
    NotText Error "not-text" "The source is not text in UTF-8.";
    Html Error "html" "The source is an HTML or XML page, often a server's error page.";
    NotAConfig Error "not-a-config" "The source is a script, a MIME message or another format of user data.";
    Syntax Error "syntax" "The source is not YAML.";
    NotAMap Error "not-a-map" "The source is YAML, but not `key: value` at its top.";
    ManyDocuments Error "many-documents" "The source holds several YAML documents.";
    TooDeep Error "too-deep" "Lists and maps are nested deeper than any config needs.";
    TooManyValues Error "too-many-values" "There are more values, or aliases stand for more, than any config needs.";
    IgnoredPart Warning "ignored-part" "A MIME message holds parts that are no config, such as scripts.";
    BadTag Error "bad-tag" "A YAML tag has no meaning in a config.";
    BadKey Error "bad-key" "A key of a map is not plain text.";
    DuplicateKey Error "duplicate-key" "A key is there twice.";
    // The shape.
    UnknownKey Error "unknown-key" "There is no such key.";
    WrongType Error "wrong-type" "A value is of another type than the key's.";
    NotOneOf Error "not-one-of" "A value is not one of the key's.";
    OutOfRange Error "out-of-range" "A number is too small or too large.";
    SchemeVersion Error "scheme-version" "The config is made for another version of the schema.";
    NoMeaning Warning "no-meaning" "A key is accepted for Harvester's sake and does nothing here.";
    NotYet Warning "not-yet" "A key is checked, but this version of Harrow does not act on it yet.";
    // Single values.
    BadValue Error "bad-value" "A value is not of the form that the key needs.";
    Missing Error "missing" "A key that is needed is not there.";
    // Between keys.
    ModeConflict Error "mode-conflict" "A key does not go with `install.mode`.";
    ModeIgnored Warning "mode-ignored" "A key does nothing in this `install.mode`.";
    NoLogin Error "no-login" "Nobody could log in to the node.";
    NoSshLogin Warning "no-ssh-login" "Nobody could log in over ssh, only at the console.";
    NoUse Warning "no-use" "A key does nothing without another one.";
    WeakHash Warning "weak-hash" "The password's hash is of a kind that is easily broken.";
    MethodIgnored Warning "method-ignored" "An address key does nothing with this method.";
    GatewayUnreachable Error "gateway-unreachable" "The gateway is not in the node's network, or is the node itself.";
    BadHostAddress Error "bad-host-address" "An address is its network's own or broadcast address.";
    NoVip Warning "no-vip" "A cluster without a virtual IP: nodes can join only at this node's own address.";
    VipIsNode Error "vip-is-node" "The virtual IP is the node's, the gateway's or a DNS server's address.";
    VipOutside Warning "vip-outside" "The virtual IP is not in the management network.";
    NetworksOverlap Error "networks-overlap" "Two networks that must be apart overlap.";
    DnsOutside Error "dns-outside" "The cluster's DNS address is not in the service network.";
    PodsDontFit Error "pods-dont-fit" "More pods than a node's part of the pod network has addresses.";
    OneNode Warning "one-node" "The pod network has room for the pods of one node.";
    ReservedTooLittle Warning "reserved-too-little" "The reservations are small for so many pods.";
    ReservedTooMuch Error "reserved-too-much" "The reservations leave nothing to run.";
    BondConflict Error "bond-conflict" "Options of the bond do not go together.";
    DuplicateNic Error "duplicate-nic" "The same NIC is named twice.";
    RoleConflict Error "role-conflict" "A key does not go with `install.role`.";
    AddonConflict Error "addon-conflict" "An addon and another key undo each other's work.";
    AddonNeeds Warning "addon-needs" "An addon or a feature needs something that no config can bring.";
    NeedsInternet Warning "needs-internet" "A part of the cluster comes from the internet although the rest does not.";
    VipUnnamed Warning "vip-unnamed" "The certificate of the cluster's API does not have the virtual IP, which a DHCP server chooses.";
    DeviceNotPermitted Warning "device-not-permitted" "Virtual functions are made, but no virtual machine may have one.";
    SameDisk Warning "same-disk" "The data disk is the install disk.";
    WipeConflict Warning "wipe-conflict" "The keys about wiping disks contradict each other.";
    DiskTooSmall Error "disk-too-small" "The partitions do not fit on the disk.";
    DuplicateValue Error "duplicate-value" "A value is in a list twice, and may be there once.";
    UrlScheme Error "url-scheme" "A URL's scheme is not supported.";
    Insecure Warning "insecure" "A secret travels or lies unprotected.";
    // Several nodes.
    NoCreateNode Warning "no-create-node" "No node creates the cluster; fine when it exists already.";
    ManyCreateNodes Error "many-create-nodes" "Several nodes create a cluster.";
    ServerUrlElsewhere Warning "server-url-elsewhere" "A node joins at an address that none of the configs has.";
    TokenDiffers Error "token-differs" "The nodes have different tokens.";
    SameHostname Error "same-hostname" "Two nodes have the same host name.";
    SameAddress Error "same-address" "An address or MAC is used twice.";
    NetworkDiffers Error "network-differs" "Nodes of one cluster disagree about its networks.";
    SubnetDiffers Warning "subnet-differs" "Nodes are in different management networks.";
    NtpDiffers Warning "ntp-differs" "Some nodes have time servers and some have none.";
    EvenControlPlane Warning "even-control-plane" "An even number of nodes vote, which bears no more failures than one fewer.";
    Roles Error "roles" "The roles of the nodes make no working cluster.";
    // The machine.
    NoSuchDisk Error "no-such-disk" "The machine has no such disk.";
    ManyDisks Error "many-disks" "A disk rule fits several disks and does not say which.";
    NoSuchNic Error "no-such-nic" "The machine has no such NIC.";
    ManyNics Warning "many-nics" "The machine has several NICs, and the config names none for the management network.";
    DiskInUse Warning "disk-in-use" "The disk is in use, as far as the saved facts say.";
    // Ours.
    Bug Error "bug" "Harrow contradicts itself; please report it.";
}

impl Code {
    /// Whether it is about one value alone, and not about what keys mean together.
    pub fn is_of_shape(self) -> bool {
        self < Self::Missing
    }

    /// Whether it is about the form of a single value.
    pub fn is_of_value(self) -> bool {
        matches!(self, Self::BadValue | Self::UrlScheme | Self::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_kebab_words() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|c| c.name()).collect();
        assert!(
            names.iter().all(|n| {
                n.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !n.is_empty()
            })
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
