#include "mgmt/vmms/vm_table.h"

#include <string.h>
#include <strings.h>

#include "mgmt/vmms/vm.h"

void vm_table_init(struct vm_table *table)
{
	list_init(&table->vms);
	table->count = 0;
}

struct vm *vm_table_find_name(const struct vm_table *table, const char *name)
{
	struct vm *vm;

	vm_table_for_each(vm, table)
	{
		if (!strcmp(vm_name(vm), name))
			return vm;
	}
	return NULL;
}

struct vm *vm_table_find_uuid(const struct vm_table *table, const char *uuid)
{
	struct vm *vm;

	vm_table_for_each(vm, table)
	{
		if (!strcasecmp(vm_uuid(vm), uuid))
			return vm;
	}
	return NULL;
}

struct vm *vm_table_find(const struct vm_table *table, const char *name)
{
	struct vm *vm = vm_table_find_name(table, name);

	return vm ? vm : vm_table_find_uuid(table, name);
}

void vm_table_add(struct vm_table *table, struct vm *vm)
{
	struct list *before = &table->vms;
	struct vm *other;

	vm_table_for_each(other, table)
	{
		if (strcmp(vm_name(other), vm_name(vm)) > 0) {
			before = &other->link;
			break;
		}
	}
	list_append(before, &vm->link); /* before that node */
	table->count++;
}

void vm_table_remove(struct vm_table *table, struct vm *vm)
{
	list_remove(&vm->link);
	table->count--;
}
