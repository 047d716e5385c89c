#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "mgmt/client_vm.h"

/* How figures of a VM read. */

void client_state(const json_t *vm, char *text, size_t size)
{
	snprintf(text, size, "%s", guest_text(vm, "state"));
	for (char *at = text; *at; at++)
		*at = *at == '_' ? '-' : *at;
}

void client_time(json_int_t microseconds, char *text, size_t size)
{
	time_t seconds = (time_t)(microseconds / 1000000);
	struct tm parts;

	if (microseconds <= 0 || !localtime_r(&seconds, &parts) ||
	    !strftime(text, size, "%Y-%m-%d %H:%M:%S", &parts))
		snprintf(text, size, "-");
}

void client_age(json_int_t microseconds, char *text, size_t size)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	int64_t age = (int64_t)time(NULL) - microseconds / 1000000;
	size_t i = 0;

	if (microseconds <= 0) {
		snprintf(text, size, "-");
		return;
	}
	age = age < 0 ? 0 : age;
	while (i + 1 < ARRAY_LENGTH(units) && age < units[i].seconds)
		i++;
	snprintf(text, size, "%" PRId64 "%c", age / units[i].seconds, units[i].unit);
}

void client_size(json_int_t bytes, char *text, size_t size)
{
	static const char units[] = "BKMGT";
	unsigned int unit = 0;

	while (unit < 4 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	if (unit)
		snprintf(text, size, "%" JSON_INTEGER_FORMAT "%c", bytes, units[unit]);
	else
		snprintf(text, size, "%" JSON_INTEGER_FORMAT, bytes);
}

bool client_is_size(const char *setting)
{
	static const char *const settings[] = {"memory.startup", "memory.minimum", "memory.maximum",
					       "resources.memory_max"};

	for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
		if (!strcmp(settings[i], setting))
			return true;
	}
	return false;
}
