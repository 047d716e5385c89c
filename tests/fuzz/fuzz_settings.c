#include <jansson.h>

#include "fuzz.h"
#include "mgmt/run_options.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/settings_arguments.h"
#include "mgmt/vmms/settings_live.h"

/*
 * Definitions as clients send them and people edit them: one JSON text, or two with a NUL between,
 * the second a change.  What is let in must be let in again as it was filled, in the words that
 * `run` takes, and lead to what it was changed to.
 */

static void check_words(const struct settings *settings)
{
	struct launch_files files;
	struct run_options options;
	struct error err;
	char **words;
	int count = 0;

	for (unsigned int i = 0; i < PROTOCOL_NICS_MAX; i++)
		files.nics[i].count = 0;
	/* Without descriptors a NIC on a switch has none. */
	if (settings_arguments(settings, &files, &words, &err))
		return;
	while (words[count])
		count++;
	require(!run_options_parse(count, words, true, &options, &err));
	require(options.disk_count == json_array_size(settings_disks(settings)));
	run_options_clear(&options);
	settings_arguments_free(words);
}

static void check_again(const struct settings *settings)
{
	json_t *json = settings_json(settings);
	struct settings *again;
	struct error err;

	require(!settings_parse(json, &again, &err));
	require(settings_equal(settings, again));
	settings_free(again);
	json_decref(json);
}

static void check_live(const struct settings *old, const struct settings *new)
{
	struct settings_steps steps;
	struct settings *now, *next;
	struct error err;

	require(!settings_live(old, new, &steps, &err));
	now = settings_ref(steps.in_force);
	for (size_t i = 0; i < steps.count; i++) {
		require(!settings_step_done(now, &steps.list[i], &next, &err));
		settings_free(now);
		now = next;
	}
	settings_steps_clear(&steps);
	require(!settings_live(now, new, &steps, &err));
	require(!steps.count && !json_array_size(steps.applied));
	settings_steps_clear(&steps);
	settings_free(now);
}

static void check_change(const struct settings *settings, const uint8_t *text, size_t size)
{
	json_t *change = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
	struct settings *changed;
	struct error err;

	if (change && !settings_change(settings, change, &changed, &err)) {
		check_again(changed);
		check_words(changed);
		check_live(settings, changed);
		settings_free(changed);
	}
	json_decref(change);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t length = end ? (size_t)(end - data) : size;
	json_t *json = json_loadb((const char *)data, length, JSON_DECODE_ANY, NULL);
	struct settings *settings;
	struct error err;
	int r = json ? settings_parse(json, &settings, &err) : -1;

	json_decref(json);
	if (r)
		return 0;
	check_again(settings);
	check_words(settings);
	if (end)
		check_change(settings, end + 1, size - length - 1);
	settings_free(settings);
	return 0;
}
