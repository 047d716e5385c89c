/* Key-value exchange as a guest sees it. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "base/wire.h"
#include "devices/table.h"
#include "suite.h"
#include "vsc_ic.h"

#define INSTANCE "f8b3781a-1e82-4818-a1c3-63d806ec15bb"

static struct vsc_ic ic;
static struct vsc_channel channel;
static struct vsc_ic_request request;

static void setup(void)
{
	vsc_ic_start(&ic, json_object());
	vsc_ic_connect(&ic, "kvp", (struct ic_version){4, 0}, &channel);
}

static void teardown(void)
{
	vsc_ic_stop(&ic);
}

static void expect_refusal(const char *verb, json_t *parameters, const char *words)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, verb, parameters);
	ck_assert_msg(!vsc_ic_wait(&call), "%s is not refused", verb);
	ck_assert_msg(strstr(call.sentence, words), "\"%s\" lacks \"%s\"", call.sentence, words);
}

static void expect_text(const uint8_t *units, size_t size, const char *expected)
{
	char text[UTF16_DECODED_MAX(2048)];

	ck_assert_int_ge(utf16_decode(units, size, text, sizeof(text)), 0);
	ck_assert_str_eq(text, expected);
}

START_TEST(values_are_set)
{
	struct ic_kvp_item item;
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-set",
		    json_pack("{s:s,s:s,s:s}", "pool", "external", "key", "colo\xc3\xbcr", "value",
			      "gr\xc3\xbcn \xf0\x9f\x90\xa7"));
	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_KVP);
	ck_assert_uint_eq(request.size, align_up(sizeof(item) + 28, 8) - 28);
	memcpy(&item, request.body, sizeof(item));
	ck_assert_uint_eq(item.header.operation, IC_KVP_SET);
	ck_assert_uint_eq(item.header.pool, 0);
	ck_assert_uint_eq(item.value.type, IC_KVP_STRING);
	ck_assert_uint_eq(item.value.key_size, 14);
	ck_assert_uint_eq(item.value.value_size, 16);
	expect_text(item.value.key, item.value.key_size, "colo\xc3\xbcr");
	expect_text(item.value.value, item.value.value_size, "gr\xc3\xbcn \xf0\x9f\x90\xa7");
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
}
END_TEST

START_TEST(numbers_are_set)
{
	static const char *const types[] = {"u32", "u64"};
	static const char *const values[] = {"4294967295", "18446744073709551615"};
	struct ic_kvp_item item;
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-set",
		    json_pack("{s:s,s:s,s:s,s:s}", "pool", "guest", "key", "n", "value", values[_i],
			      "type", types[_i]));
	vsc_ic_receive(&ic, &channel, true, &request);
	memcpy(&item, request.body, sizeof(item));
	ck_assert_uint_eq(item.header.pool, 1);
	ck_assert_uint_eq(item.value.type, _i ? IC_KVP_U64 : IC_KVP_U32);
	ck_assert_uint_eq(get_le64(item.value.value), _i ? UINT64_MAX : UINT32_MAX);
	vsc_ic_answer(&ic, &channel, &request, IC_E_FAIL);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "refuses the new value"));
}
END_TEST

static json_t *set_parameters(const char *key, const char *value, const char *type)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "pool", "external", "key", key, "value", value,
			 "type", type);
}

/* length times the character. */
static char *repeat(const char *character, size_t length)
{
	char *text = calloc(length, strlen(character) + 1);

	for (size_t i = 0; i < length; i++)
		strcat(text, character);
	return text;
}

START_TEST(what_does_not_fit_never_reaches_the_guest)
{
	char *long_key = repeat("k", 255), *long_value = repeat("v", 1023);
	char *wide_value = repeat("\xe2\x82\xac", 683);

	expect_refusal("kvp-set", set_parameters(long_key, "v", "string"), "the key is too long");
	expect_refusal("kvp-set", set_parameters("k", long_value, "string"),
		       "the value is too long");
	expect_refusal("kvp-set", set_parameters("k", wide_value, "string"),
		       "the value is too long");
	expect_refusal("kvp-set", set_parameters("", "v", "string"), "empty");
	expect_refusal("kvp-set", set_parameters("k", "4294967296", "u32"), "no number");
	expect_refusal("kvp-set", set_parameters("k", "-1", "u64"), "no number");
	expect_refusal("kvp-set", set_parameters("k", "v", "float"), "type");
	expect_refusal("kvp-set", json_pack("{s:s,s:s}", "pool", "external", "key", "k"), "UTF-8");
	expect_refusal("kvp-remove", json_pack("{s:s,s:s}", "pool", "pond", "key", "k"), "pool");
	expect_refusal("kvp-get", json_pack("{s:s,s:s}", "pool", "auto", "key", long_key),
		       "too long");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	free(long_key);
	free(long_value);
	free(wide_value);
}
END_TEST

START_TEST(items_are_removed)
{
	struct ic_kvp_delete message;
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-remove",
		    json_pack("{s:s,s:s}", "pool", "external", "key", "old"));
	vsc_ic_receive(&ic, &channel, true, &request);
	memcpy(&message, request.body, sizeof(message));
	ck_assert_uint_eq(message.header.operation, IC_KVP_DELETE);
	ck_assert_uint_eq(message.key_size, 8);
	expect_text(message.key, message.key_size, "old");
	vsc_ic_answer(&ic, &channel, &request, IC_S_CONT);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "no such item"));
}
END_TEST

struct item {
	const char *key, *value;
};

static const struct item items[] = {
	{"FullyQualifiedDomainName", "guest.example"},
	{"OSName", "Linux"},
	{"OSVersion", "6.12"},
};

/* Answers enumerations until the pool, or the host's interest, ends: how many were asked for. */
static unsigned int serve_pool(uint32_t type)
{
	unsigned int asked = 0;

	for (;;) {
		struct ic_kvp_enumerate message;

		vsc_ic_receive(&ic, &channel, true, &request);
		memcpy(&message, request.body, sizeof(message));
		ck_assert_uint_eq(message.header.operation, IC_KVP_ENUMERATE);
		ck_assert_uint_eq(message.index, asked);
		asked++;
		if (message.index == ARRAY_LENGTH(items)) {
			vsc_ic_answer(&ic, &channel, &request, IC_S_CONT);
			return asked;
		}
		message.value.type = type;
		message.value.key_size = (uint32_t)utf16_encode(items[message.index].key,
								message.value.key, IC_KVP_KEY_SIZE);
		/* What a driver says of sizes is its own affair. */
		message.value.value_size = UINT32_MAX;
		utf16_encode(items[message.index].value, message.value.value, IC_KVP_VALUE_SIZE);
		if (type == IC_KVP_U32)
			put_le32(message.value.value, 7 + message.index);
		memcpy(request.body, &message, sizeof(message));
		vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
		if (type == IC_KVP_U32 && message.index == 1)
			return asked;
	}
}

START_TEST(a_pool_is_listed)
{
	struct vsc_ic_call call;
	const json_t *list;

	vsc_ic_call(&ic, &call, "kvp-list", json_pack("{s:s}", "pool", "auto"));
	ck_assert_uint_eq(serve_pool(IC_KVP_STRING), 4);
	ck_assert(vsc_ic_wait(&call));
	list = json_object_get(call.reply, "items");
	ck_assert_uint_eq(json_array_size(list), 3);
	for (size_t i = 0; i < ARRAY_LENGTH(items); i++) {
		const json_t *item = json_array_get(list, i);

		ck_assert_str_eq(json_string_value(json_object_get(item, "key")), items[i].key);
		ck_assert_str_eq(json_string_value(json_object_get(item, "value")), items[i].value);
	}
	json_decref(call.reply);
}
END_TEST

START_TEST(one_value_is_found)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-get", json_pack("{s:s,s:s}", "pool", "auto", "key", "OSName"));
	ck_assert_uint_eq(serve_pool(IC_KVP_U32), 2);
	ck_assert(vsc_ic_wait(&call));
	ck_assert_str_eq(json_string_value(json_object_get(call.reply, "value")), "8");
	json_decref(call.reply);
	vsc_ic_call(&ic, &call, "kvp-get", json_pack("{s:s,s:s}", "pool", "auto", "key", "OSNam"));
	ck_assert_uint_eq(serve_pool(IC_KVP_STRING), 4);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "no such item"));
}
END_TEST

START_TEST(a_pool_without_end_is_left)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-list", json_pack("{s:s}", "pool", "guest"));
	for (unsigned int i = 0; i <= 1024; i++) {
		vsc_ic_receive(&ic, &channel, true, &request);
		vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	}
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "no end"));
}
END_TEST

START_TEST(short_answers_are_refused)
{
	static const char *const verbs[] = {"kvp-list", "kvp-get-ip"};
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, verbs[_i],
		    json_pack("{s:s,s:s}", "pool", "auto", "mac", "00:15:5d:01:02:03"));
	vsc_ic_receive(&ic, &channel, true, &request);
	request.size = 16;
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "too short"));
}
END_TEST

START_TEST(calls_wait_their_turn)
{
	struct vsc_ic_call calls[33];

	for (size_t i = 0; i < 32; i++)
		vsc_ic_call(&ic, &calls[i], "kvp-set", set_parameters("k", "v", "string"));
	vsc_ic_call(&ic, &calls[32], "kvp-set", set_parameters("k", "v", "string"));
	ck_assert(!vsc_ic_wait(&calls[32]));
	ck_assert_ptr_nonnull(strstr(calls[32].sentence, "busy"));
	for (size_t i = 0; i < 2; i++) {
		vsc_ic_receive(&ic, &channel, true, &request);
		ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
		vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
		ck_assert(vsc_ic_wait(&calls[i]));
		json_decref(calls[i].reply);
	}
	/* A guest that restarts ends all that wait. */
	vsc_channel_close(&channel);
	for (size_t i = 2; i < 32; i++) {
		ck_assert(!vsc_ic_wait(&calls[i]));
		ck_assert_ptr_nonnull(strstr(calls[i].sentence, "restarted"));
	}
}
END_TEST

START_TEST(an_adapter_is_configured)
{
	struct vsc_ic_call call;
	struct ic_kvp_ip ip;

	vsc_ic_call(&ic, &call, "kvp-set-ip",
		    json_pack("{s:s,s:[s,s],s:[s],s:[s,s]}", "adapter", INSTANCE, "addresses",
			      "192.0.2.5/25", "2001:db8::5/64", "gateways", "192.0.2.1", "dns",
			      "192.0.2.53", "2001:db8::53"));
	vsc_ic_receive(&ic, &channel, true, &request);
	memcpy(&ip, request.body, sizeof(ip));
	ck_assert_uint_eq(ip.operation, IC_KVP_SET_IP);
	ck_assert_uint_eq(ip.family, IC_IP_IPV4 | IC_IP_IPV6);
	ck_assert_uint_eq(ip.dhcp, 0);
	expect_text(ip.adapter, sizeof(ip.adapter), "{" INSTANCE "}");
	expect_text(ip.addresses, sizeof(ip.addresses), "192.0.2.5;2001:db8::5");
	expect_text(ip.subnets, sizeof(ip.subnets), "255.255.255.128;64");
	expect_text(ip.gateways, sizeof(ip.gateways), "192.0.2.1");
	expect_text(ip.dns, sizeof(ip.dns), "192.0.2.53;2001:db8::53");
	vsc_ic_answer(&ic, &channel, &request, IC_E_GUID_NOT_FOUND);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "no network adapter"));
}
END_TEST

START_TEST(an_adapter_is_named_by_its_mac)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "kvp-set-ip",
		    json_pack("{s:s,s:b}", "adapter", "00:15:5d:0A:0b:0c", "dhcp", 1));
	vsc_ic_receive(&ic, &channel, true, &request);
	expect_text(request.body + 2, 256, "{6e657476-7370-4e49-8043-00155d0a0b0c}");
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
}
END_TEST

START_TEST(wrong_configurations_are_refused)
{
	expect_refusal("kvp-set-ip", json_pack("{s:s,s:b}", "adapter", "eth0", "dhcp", 1), "GUID");
	expect_refusal("kvp-set-ip", json_pack("{s:s}", "adapter", INSTANCE), "give an address");
	expect_refusal("kvp-set-ip",
		       json_pack("{s:s,s:[s]}", "adapter", INSTANCE, "addresses", "192.0.2.5"),
		       "prefix");
	expect_refusal("kvp-set-ip",
		       json_pack("{s:s,s:[s]}", "adapter", INSTANCE, "addresses", "192.0.2.5/33"),
		       "prefix");
	expect_refusal("kvp-set-ip",
		       json_pack("{s:s,s:b,s:[s]}", "adapter", INSTANCE, "dhcp", 1, "dns", "dns"),
		       "no IP address");
	expect_refusal("kvp-get-ip", json_pack("{s:s}", "mac", "00:15:5d:01:02"), "MAC");
	expect_refusal("kvp-get-ip", json_pack("{s:s}", "mac", "00-15-5d-01-02-03"), "MAC");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
}
END_TEST

START_TEST(an_adapter_is_read)
{
	struct vsc_ic_call call;
	struct ic_kvp_ip ip;
	const json_t *list;

	vsc_ic_call(&ic, &call, "kvp-get-ip", json_pack("{s:s}", "mac", "00:15:5d:0a:0b:0c"));
	vsc_ic_receive(&ic, &channel, true, &request);
	memcpy(&ip, request.body, sizeof(ip));
	expect_text(ip.adapter, sizeof(ip.adapter), "00:15:5D:0A:0B:0C");
	ip.dhcp = 1;
	utf16_encode("192.0.2.5;;2001:db8::5", ip.addresses, sizeof(ip.addresses));
	memset(ip.dns, 'x', sizeof(ip.dns));
	memcpy(request.body, &ip, sizeof(ip));
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	ck_assert(json_is_true(json_object_get(call.reply, "dhcp")));
	list = json_object_get(call.reply, "addresses");
	ck_assert_uint_eq(json_array_size(list), 2);
	ck_assert_str_eq(json_string_value(json_array_get(list, 1)), "2001:db8::5");
	ck_assert_uint_eq(json_array_size(json_object_get(call.reply, "gateways")), 0);
	json_decref(call.reply);
}
END_TEST

START_TEST(old_versions_have_no_addresses)
{
	vsc_channel_close(&channel);
	vsc_ic_connect(&ic, "kvp", (struct ic_version){3, 0}, &channel);
	expect_refusal("kvp-get-ip", json_pack("{s:s}", "mac", "00:15:5d:01:02:03"), "4.0");
	expect_refusal("kvp-set-ip", json_pack("{s:s,s:b}", "adapter", INSTANCE, "dhcp", 1), "4.0");
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ic_kvp", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_test(test_case, values_are_set);
	tcase_add_loop_test(test_case, numbers_are_set, 0, 2);
	tcase_add_test(test_case, what_does_not_fit_never_reaches_the_guest);
	tcase_add_test(test_case, items_are_removed);
	tcase_add_test(test_case, a_pool_is_listed);
	tcase_add_test(test_case, one_value_is_found);
	tcase_add_test(test_case, a_pool_without_end_is_left);
	tcase_add_loop_test(test_case, short_answers_are_refused, 0, 2);
	tcase_add_test(test_case, calls_wait_their_turn);
	tcase_add_test(test_case, an_adapter_is_configured);
	tcase_add_test(test_case, an_adapter_is_named_by_its_mac);
	tcase_add_test(test_case, wrong_configurations_are_refused);
	tcase_add_test(test_case, an_adapter_is_read);
	tcase_add_test(test_case, old_versions_have_no_addresses);
	return suite_run(suite);
}
