#pragma once

#include <limits.h>

struct vm;

/* Where the files of a VM's run are.  Any thread. */

#define VM_PATH_MAX (PATH_MAX + NAME_MAX)

/* The directory of a run, the supervisor's socket there, the note on who it is, and what it had
 * used when that was reset. */
void vm_path_directory(const struct vm *vm, char path[VM_PATH_MAX]);
void vm_path_socket(const struct vm *vm, char path[VM_PATH_MAX]);
void vm_path_note(const struct vm *vm, char path[VM_PATH_MAX]);
void vm_path_worker(const struct vm *vm, char path[VM_PATH_MAX]);
void vm_path_measure(const struct vm *vm, char path[VM_PATH_MAX]);

/* Where it is saved, and the record of how it ended, kept with the state. */
void vm_path_saved(const struct vm *vm, char path[VM_PATH_MAX]);
void vm_path_record(const struct vm *vm, char path[VM_PATH_MAX]);
