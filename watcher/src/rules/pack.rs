//! The rules that the program carries, by file. A test holds this list against the folder.

/// Name and text of each file in `watcher/rules`, in order of name.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("agent_evidence_lost.yml", include_str!("../../rules/agent_evidence_lost.yml")),
    ("agent_settings_changed.yml", include_str!("../../rules/agent_settings_changed.yml")),
    ("agent_settings_tool_call.yml", include_str!("../../rules/agent_settings_tool_call.yml")),
    ("cloud_metadata.yml", include_str!("../../rules/cloud_metadata.yml")),
    ("cloud_metadata_held.yml", include_str!("../../rules/cloud_metadata_held.yml")),
    ("denied_then_done_file.yml", include_str!("../../rules/denied_then_done_file.yml")),
    ("denied_then_done_network.yml", include_str!("../../rules/denied_then_done_network.yml")),
    ("dns_tunnel.yml", include_str!("../../rules/dns_tunnel.yml")),
    ("download_piped_to_shell.yml", include_str!("../../rules/download_piped_to_shell.yml")),
    ("drop_site.yml", include_str!("../../rules/drop_site.yml")),
    ("git_force_push.yml", include_str!("../../rules/git_force_push.yml")),
    ("infrastructure_changed.yml", include_str!("../../rules/infrastructure_changed.yml")),
    ("package_published.yml", include_str!("../../rules/package_published.yml")),
    ("persistence_git_hook.yml", include_str!("../../rules/persistence_git_hook.yml")),
    ("persistence_schedule_command.yml", include_str!("../../rules/persistence_schedule_command.yml")),
    ("persistence_scheduled.yml", include_str!("../../rules/persistence_scheduled.yml")),
    ("persistence_shell_startup.yml", include_str!("../../rules/persistence_shell_startup.yml")),
    ("records_lost.yml", include_str!("../../rules/records_lost.yml")),
    ("recursive_delete_outside.yml", include_str!("../../rules/recursive_delete_outside.yml")),
    ("repeated_refusals.yml", include_str!("../../rules/repeated_refusals.yml")),
    ("reverse_shell.yml", include_str!("../../rules/reverse_shell.yml")),
    ("sandbox_disabled_process.yml", include_str!("../../rules/sandbox_disabled_process.yml")),
    ("sandbox_disabled_tool_call.yml", include_str!("../../rules/sandbox_disabled_tool_call.yml")),
    ("secret_copied.yml", include_str!("../../rules/secret_copied.yml")),
    ("secret_read_for_staging.yml", include_str!("../../rules/secret_read_for_staging.yml")),
    ("secret_read_not_in_task.yml", include_str!("../../rules/secret_read_not_in_task.yml")),
    ("secret_read_then_egress.yml", include_str!("../../rules/secret_read_then_egress.yml")),
    ("secret_read_then_egress_held.yml", include_str!("../../rules/secret_read_then_egress_held.yml")),
    ("ssh_access_granted.yml", include_str!("../../rules/ssh_access_granted.yml")),
    ("traces_removed.yml", include_str!("../../rules/traces_removed.yml")),
    ("unmediated_secret_read.yml", include_str!("../../rules/unmediated_secret_read.yml")),
    ("write_outside_workspace.yml", include_str!("../../rules/write_outside_workspace.yml")),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_carries_every_rule_of_the_folder() {
        let mut there: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rules"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.ends_with(".yml"))
            .collect();
        there.sort();
        let carried: Vec<&str> = super::EMBEDDED.iter().map(|(n, _)| *n).collect();
        assert_eq!(carried, there);
    }
}
