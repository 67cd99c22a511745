use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

#[test]
fn the_committed_pages_are_in_step_with_the_code() {
    let folder = book().join("reference");
    for page in pages() {
        let committed = fs::read_to_string(folder.join(page.name)).unwrap_or_default();
        assert!(committed == page.text, "docs/src/reference/{} is out of step; run: {REGENERATE}", page.name);
    }
    let written: BTreeSet<&str> = pages().into_iter().map(|page| page.name).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(written.contains(name.to_str().unwrap()), "docs/src/reference/{name:?} is written by nobody");
    }
}

#[test]
fn the_summary_lists_every_page_and_no_other() {
    let summary = fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links(&summary).into_iter().map(PathBuf::from).collect();
    let mut there = BTreeSet::new();
    collect(&book(), Path::new(""), &mut there);
    there.remove(Path::new("SUMMARY.md"));
    assert_eq!(listed, there);
}

#[test]
fn every_link_leads_to_a_page_and_every_anchor_to_a_heading() {
    let mut names = BTreeSet::new();
    collect(&book(), Path::new(""), &mut names);
    for name in names {
        let text = fs::read_to_string(book().join(&name)).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                book().join(&name)
            } else {
                book().join(name.parent().unwrap()).join(file)
            };
            let there = fs::read_to_string(&target);
            assert!(there.is_ok(), "{}: {link} leads nowhere", name.display());
            let headings: BTreeSet<String> =
                there.unwrap().lines().filter(|line| line.starts_with('#')).map(slug).collect();
            assert!(
                anchor.is_empty() || headings.contains(anchor),
                "{}: no heading for {link}",
                name.display()
            );
        }
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let root = book().join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let page = fs::read_to_string(book().join("dependencies.md")).unwrap();
    let manifests = [read("Cargo.toml"), read("fuzz/Cargo.toml")];
    let names = manifests.iter().flat_map(|text| dependencies(text));
    for name in names.filter(|name| !name.starts_with("telson-")) {
        assert!(page.contains(&format!("`{name}`")), "docs/src/dependencies.md has no reason for {name}");
    }
}

/// The names in a manifest's table of dependencies.
fn dependencies(manifest: &str) -> Vec<&str> {
    let tables = manifest.split("\n[").filter(|table| {
        let head = table.lines().next().unwrap_or_default().trim_start_matches('[');
        head == "workspace.dependencies]" || head == "dependencies]"
    });
    let lines = tables.flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()).collect()
}

/// The targets of the links in a Markdown text, code left out.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that mdBook makes of a heading.
fn slug(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>()
        .replace(' ', "-")
}

fn collect(folder: &Path, below: &Path, names: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => collect(folder, &name, names),
            false => {
                names.insert(name);
            }
        }
    }
}
