#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "mgmt/vmms/caller.h"
#include "mgmt/vmms/opener.h"

/*
 * The files and devices that a call would give to a VM.  They are opened with the rights of the
 * VM's owner, when it starts or while it runs.  So who gives them must be the owner, who must have
 * a right to them then, too, or root; nobody else, whatever their right to the VM: what they name
 * could become a link to a file that only the owner may open.
 */
struct file_list {
	struct opener_file files[OPENER_FILES_MAX]; /* paths borrowed from the JSON */
	size_t count;
	bool too_many;
	bool remote; /* a network block device by a local socket, too */
};

/* Of a definition, or a change to old (NULL: none).  What old has already is not given anew.  Any
 * JSON will do: what is not as it should be is left for others to refuse. */
void file_rules_settings(struct file_list *list, const json_t *settings, const json_t *old);
void file_rules_disk(struct file_list *list, const json_t *disk);
void file_rules_nic(struct file_list *list, const json_t *nic);
/* path: a string, or anything else for none. */
void file_rules_path(struct file_list *list, const json_t *path, enum opener_access access);

/* Whether the caller may say whose a VM is to be: root anything, everybody else themselves.  owner:
 * an Owner, or no object for none. */
int file_rules_owner(const struct caller *caller, const json_t *owner, struct error *err);
