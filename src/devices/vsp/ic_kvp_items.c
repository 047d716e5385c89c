#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "base/utf16.h"
#include "base/wire.h"
#include "devices/vsp/ic_kvp.h"

/*
 * Keys and values.  Linux turns them into UTF-8 in buffers of the same size in bytes, cutting what
 * is longer, and gives back two characters less than fit: what would come back changed is
 * refused before it reaches the guest.
 *
 * A value is got by enumerating its pool: Linux answers to GET with a value that lacks its
 * first four bytes, and its intrinsic items can be had in no other way.
 */

#define KEY_UNITS_MAX	(IC_KVP_KEY_SIZE / 2 - 2)
#define VALUE_UNITS_MAX (IC_KVP_VALUE_SIZE / 2 - 2)

static const char *const pools[] = {"external", "guest", "auto", "auto-external", "auto-internal"};

static int read_pool(const json_t *parameters, uint8_t *pool, struct error *err)
{
	const char *name = json_string_value(json_object_get(parameters, "pool"));

	for (size_t i = 0; name && i < ARRAY_LENGTH(pools); i++) {
		if (strcmp(pools[i], name) == 0) {
			*pool = (uint8_t)i;
			return 0;
		}
	}
	return error_set(err, EINVAL,
			 "the pool must be external, guest, auto, auto-external or "
			 "auto-internal");
}

/* Text as the guest can keep it: size bytes there, as UTF-16 and as UTF-8. */
static int encode(const char *text, const char *what, void *out, uint32_t size, unsigned int units,
		  struct error *err)
{
	int r = text ? utf16_encode(text, out, size) : -EINVAL;

	if (r == -EINVAL || r == -EILSEQ)
		return error_set(err, EINVAL, "%s is not UTF-8 text", what);
	if (r == -E2BIG || (unsigned int)r / 2 - 1 > units || strlen(text) >= size)
		return error_set(err, E2BIG,
				 "%s is too long: at most %u characters, and %u bytes of UTF-8",
				 what, units, size - 1);
	return r;
}

static int encode_key(const json_t *parameters, void *out, struct error *err)
{
	const char *key = json_string_value(json_object_get(parameters, "key"));

	if (key && !*key)
		return error_set(err, EINVAL, "the key is empty");
	return encode(key, "the key", out, IC_KVP_KEY_SIZE, KEY_UNITS_MAX, err);
}

static int encode_number(const char *text, uint64_t max, struct ic_kvp_value *value,
			 struct error *err)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	if (!text || *text < '0' || *text > '9' || *end || errno || number > max)
		return error_set(err, EINVAL, "the value is no number from 0 to %" PRIu64, max);
	put_le64(value->value, number);
	value->value_size = max == UINT32_MAX ? 4 : 8;
	return 0;
}

static int encode_value(const json_t *parameters, struct ic_kvp_value *value, struct error *err)
{
	const char *type = json_string_value(json_object_get(parameters, "type"));
	const char *text = json_string_value(json_object_get(parameters, "value"));
	int r;

	if (type && strcmp(type, "u32") == 0) {
		value->type = IC_KVP_U32;
		return encode_number(text, UINT32_MAX, value, err);
	}
	if (type && strcmp(type, "u64") == 0) {
		value->type = IC_KVP_U64;
		return encode_number(text, UINT64_MAX, value, err);
	}
	if (type && strcmp(type, "string") != 0)
		return error_set(err, EINVAL, "the type must be string, u32 or u64");
	value->type = IC_KVP_STRING;
	r = encode(text, "the value", value->value, IC_KVP_VALUE_SIZE, VALUE_UNITS_MAX, err);
	if (r < 0)
		return r;
	value->value_size = (uint32_t)r;
	return 0;
}

static int fill_set(struct ic_kvp_item *item, const json_t *parameters, struct error *err)
{
	int r = read_pool(parameters, &item->header.pool, err);

	item->header.operation = IC_KVP_SET;
	if (r == 0)
		r = encode_key(parameters, item->value.key, err);
	if (r < 0)
		return r;
	item->value.key_size = (uint32_t)r;
	return encode_value(parameters, &item->value, err);
}

void ic_kvp_set_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made = kvp_call_new(call, "the new value", sizeof(struct ic_kvp_item));
	struct error err;

	if (!made)
		return;
	if (fill_set(made->body, parameters, &err) < 0)
		kvp_call_refuse(made, &err);
	else
		kvp_submit(device, made, NULL);
}

static int fill_delete(struct ic_kvp_delete *message, const json_t *parameters, struct error *err)
{
	int r = read_pool(parameters, &message->header.pool, err);

	message->header.operation = IC_KVP_DELETE;
	if (r == 0)
		r = encode_key(parameters, message->key, err);
	if (r < 0)
		return r;
	message->key_size = (uint32_t)r;
	return 0;
}

void ic_kvp_remove_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made = kvp_call_new(call, "the removal", sizeof(struct ic_kvp_delete));
	struct error err;

	if (!made)
		return;
	if (fill_delete(made->body, parameters, &err) < 0)
		kvp_call_refuse(made, &err);
	else
		kvp_submit(device, made, NULL);
}

static json_t *decode(const uint8_t *data, uint32_t size, uint32_t room)
{
	char text[UTF16_DECODED_MAX(IC_KVP_VALUE_SIZE)];

	utf16_decode(data, MIN(size, room), text, sizeof(text));
	return json_string(text);
}

static json_t *decode_value(const struct ic_kvp_value *value)
{
	if (value->type == IC_KVP_U32)
		return json_sprintf("%" PRIu32, get_le32(value->value));
	if (value->type == IC_KVP_U64)
		return json_sprintf("%" PRIu64, get_le64(value->value));
	return decode(value->value, value->value_size, IC_KVP_VALUE_SIZE);
}

/* False, with the call refused, for an answer that holds no item, or one too many. */
static bool read_item(struct kvp_call *call, const struct ic_answer *answer,
		      struct ic_kvp_enumerate *item)
{
	struct ic_kvp_enumerate *asked = call->body;

	if (answer->size < sizeof(*item)) {
		call->call->refuse(call->call, "the guest's answer is too short to hold an item");
		return false;
	}
	if (asked->index++ == KVP_ITEMS_MAX) {
		call->call->refuse(call->call, "the guest's pool has no end: it named more than "
					       "1024 items");
		return false;
	}
	memcpy(item, answer->body, sizeof(*item));
	return true;
}

static bool add_item(struct kvp_call *call, const struct ic_answer *answer)
{
	struct ic_kvp_enumerate item;

	if (!read_item(call, answer, &item))
		return true;
	json_array_append_new(
		call->items, json_pack("{s:o,s:o}", "key",
				       decode(item.value.key, item.value.key_size, IC_KVP_KEY_SIZE),
				       "value", decode_value(&item.value)));
	return false;
}

static void reply_items(struct kvp_call *call)
{
	call->call->reply(call->call, json_pack("{s:O}", "items", call->items));
}

static struct kvp_call *new_enumeration(struct device_call *call, const char *what,
					const json_t *parameters)
{
	struct kvp_call *made = kvp_call_new(call, what, sizeof(struct ic_kvp_enumerate));
	struct ic_kvp_enumerate *message = made ? made->body : NULL;
	struct error err;

	if (!made)
		return NULL;
	message->header.operation = IC_KVP_ENUMERATE;
	if (read_pool(parameters, &message->header.pool, &err) < 0) {
		kvp_call_refuse(made, &err);
		return NULL;
	}
	return made;
}

void ic_kvp_list_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made = new_enumeration(call, "its list of items", parameters);

	if (!made)
		return;
	made->items = json_array();
	made->answered = add_item;
	made->exhausted = reply_items;
	kvp_submit(device, made, NULL);
}

static bool match_item(struct kvp_call *call, const struct ic_answer *answer)
{
	struct ic_kvp_enumerate item;
	uint8_t key[IC_KVP_KEY_SIZE] = {0};

	if (!read_item(call, answer, &item))
		return true;
	memcpy(key, item.value.key, MIN(item.value.key_size, IC_KVP_KEY_SIZE));
	/* Both are zero behind the NUL of what is asked for. */
	for (size_t i = 0; i < sizeof(key); i += 2) {
		if (get_le16(key + i) != get_le16(call->key + i))
			return false;
		if (get_le16(key + i) == 0)
			break;
	}
	call->call->reply(call->call, json_pack("{s:o}", "value", decode_value(&item.value)));
	return true;
}

void ic_kvp_get_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct kvp_call *made = new_enumeration(call, "the value", parameters);
	struct error err;

	if (!made)
		return;
	made->key = calloc(1, IC_KVP_KEY_SIZE);
	made->answered = match_item;
	if (!made->key)
		error_memory(&err, "an exchange with the guest");
	if (!made->key || encode_key(parameters, made->key, &err) < 0)
		kvp_call_refuse(made, &err);
	else
		kvp_submit(device, made, NULL);
}
