#include <errno.h>
#include <jansson.h>

#include "base/varlink_idl.h"
#include "fuzz.h"

/* An interface definition, a NUL, and JSON that is held against its method A and its error E. */

#define TEXT_MAX 4096

static void hold_against(const struct varlink_idl *idl, json_t *value)
{
	char path[VARLINK_PATH_MAX];
	json_t *copy = json_deep_copy(value);
	int reply = varlink_idl_check_reply(idl, "A", value, path);
	int error = varlink_idl_check_error(idl, "E", value, path);
	int call = varlink_idl_check_call(idl, "A", value, path);

	require((reply == -ENOENT) == !varlink_idl_has_method(idl, "A"));
	require((call == -ENOENT) == (reply == -ENOENT));
	require(error == 0 || error == -EINVAL || error == -ENOENT);
	/* What was right stays right without its nulls. */
	if (call == 0)
		require(varlink_idl_check_call(idl, "A", copy, path) == 0 &&
			json_equal(copy, value));
	if (call == -EINVAL)
		require(memchr(path, 0, sizeof(path)) != NULL);
	json_decref(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	size_t length = end ? (size_t)(end - data) : size;
	char text[TEXT_MAX];
	struct varlink_idl *idl = NULL;
	struct error err = {""};
	json_t *value;

	if (length >= sizeof(text))
		return 0;
	memcpy(text, data, length);
	text[length] = 0;
	if (varlink_idl_parse(text, &idl, &err)) {
		require(!idl && err.text[0]);
		return 0;
	}
	value = end ? json_loadb((const char *)end + 1, size - length - 1, JSON_REJECT_DUPLICATES,
				 NULL)
		    : NULL;
	if (json_is_object(value))
		hold_against(idl, value);
	json_decref(value);
	varlink_idl_free(idl);
	return 0;
}
