#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store.h"

/* A file of the store as anybody may have left it: it defines the VM that its name says, or it is
 * set aside; what is written back is read again. */

#define UUID "6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1"

struct outcome {
	struct store *store;
	unsigned int loaded, aside;
	struct settings *settings;
};

static void each(void *context, struct settings *settings)
{
	struct outcome *outcome = context;

	outcome->loaded++;
	require(!strcmp(settings_uuid(settings), UUID));
	settings_free(outcome->settings);
	outcome->settings = settings;
}

static void set_aside(void *context, const char *sentence)
{
	struct outcome *outcome = context;

	outcome->aside++;
	require(strlen(sentence) > 10);
}

static void load(const char *directory, struct outcome *outcome)
{
	struct error err;

	*outcome = (struct outcome){.loaded = 0};
	require(!store_open(directory, &outcome->store, &err));
	require(!store_load(outcome->store, each, set_aside, outcome, &err));
	require(outcome->loaded + outcome->aside == 1);
}

static void put(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char directory[] = "/tmp/fuzz_store.XXXXXX";
	char vms[64], path[128];
	struct outcome outcome;
	struct error err;

	require(mkdtemp(directory) != NULL);
	snprintf(vms, sizeof(vms), "%s/vms", directory);
	require(!mkdir(vms, 0700));
	snprintf(path, sizeof(path), "%s/" UUID ".json", vms);
	put(path, data, size);
	load(directory, &outcome);
	if (outcome.loaded) {
		struct settings *settings = outcome.settings;

		require(!store_write(outcome.store, settings, &err));
		store_close(outcome.store);
		load(directory, &outcome);
		require(outcome.loaded && settings_equal(settings, outcome.settings));
		settings_free(settings);
	}
	settings_free(outcome.settings);
	store_close(outcome.store);
	unlink(path);
	snprintf(path, sizeof(path), "%s/" UUID ".json.broken-1", vms);
	unlink(path);
	rmdir(vms);
	rmdir(directory);
	return 0;
}
