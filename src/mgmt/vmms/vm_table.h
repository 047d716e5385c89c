#pragma once

#include <stddef.h>

#include "base/list.h"

struct vm;

/* The VMs that are defined, by name and by UUID, in the order of their names.  Loop thread. */
struct vm_table {
	struct list vms; /* struct vm */
	size_t count;
};

void vm_table_init(struct vm_table *table);

/* NULL: there is none.  The first function takes a name or a UUID. */
struct vm *vm_table_find(const struct vm_table *table, const char *name);
struct vm *vm_table_find_name(const struct vm_table *table, const char *name);
struct vm *vm_table_find_uuid(const struct vm_table *table, const char *uuid);

/* Its name and its UUID must not be taken. */
void vm_table_add(struct vm_table *table, struct vm *vm);
void vm_table_remove(struct vm_table *table, struct vm *vm);

#define vm_table_for_each(vm, table) list_for_each(vm, &(table)->vms, link)
