/* The integration services as a guest sees them: their framework, shutdown, time, heartbeat. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "base/wire.h"
#include "devices/table.h"
#include "devices/vsp/ic.h"
#include "suite.h"
#include "vmm/hv.h"
#include "vsc_ic.h"
#include "vsc_state.h"

static struct vsc_ic ic;
static struct vsc_channel channel;
static struct vsc_ic_request request;

static void setup(void)
{
	vsc_ic_start(&ic, json_object());
}

static void teardown(void)
{
	vsc_ic_stop(&ic);
}

static void expect_report(const char *name, const char *key, const char *value)
{
	json_t *report = vsc_ic_report(&ic, name);

	ck_assert_str_eq(json_string_value(json_object_get(report, key)), value);
	json_decref(report);
}

static json_int_t count_of(const char *name, const char *key)
{
	json_t *report = vsc_ic_report(&ic, name);
	json_int_t count = json_integer_value(json_object_get(report, key));

	json_decref(report);
	return count;
}

struct case_of_version {
	const char *name, *text;
	struct ic_version version;
};

static const struct case_of_version all_versions[] = {
	{"shutdown", "3.2", {3, 2}},  {"shutdown", "3.1", {3, 1}},  {"shutdown", "3.0", {3, 0}},
	{"shutdown", "1.0", {1, 0}},  {"timesync", "4.0", {4, 0}},  {"timesync", "3.0", {3, 0}},
	{"timesync", "1.0", {1, 0}},  {"heartbeat", "3.0", {3, 0}}, {"heartbeat", "1.0", {1, 0}},
	{"kvp", "4.0", {4, 0}},	      {"kvp", "3.0", {3, 0}},	    {"kvp", "1.0", {1, 0}},
	{"vss", "7.0", {7, 0}},	      {"vss", "6.0", {6, 0}},	    {"vss", "5.0", {5, 0}},
	{"file-copy", "1.1", {1, 1}}, {"file-copy", "1.0", {1, 0}},
};

START_TEST(every_version_can_be_agreed)
{
	static const struct ic_version frameworks[] = {{3, 0}, {1, 0}};
	const struct case_of_version *which = &all_versions[_i / 2];

	vsc_ic_open(&ic, which->name, &channel);
	ck_assert(vsc_ic_negotiate(&ic, &channel, frameworks[_i % 2], which->version));
	vsc_ic_wait_count(&ic, which->name, "answers", 1);
	expect_report(which->name, "state", "ready");
	expect_report(which->name, "version", which->text);
	expect_report(which->name, "framework", _i % 2 ? "1.0" : "3.0");
}
END_TEST

START_TEST(versions_that_were_not_offered_are_refused)
{
	vsc_ic_open(&ic, "kvp", &channel);
	ck_assert(!vsc_ic_negotiate(&ic, &channel, (struct ic_version){3, 0},
				    (struct ic_version){9, 0}));
	vsc_ic_wait_count(&ic, "kvp", "answers", 1);
	expect_report("kvp", "state", "no common version");
	/* Closed and opened again, it is asked once more. */
	vsc_channel_close(&channel);
	vsc_ic_connect(&ic, "kvp", (struct ic_version){4, 0}, &channel);
	expect_report("kvp", "state", "ready");
}
END_TEST

START_TEST(a_driver_that_knows_no_version_is_heard)
{
	struct ic_negotiate none = {0};

	vsc_ic_open(&ic, "vss", &channel);
	vsc_ic_receive(&ic, &channel, true, &request);
	memcpy(request.body, &none, sizeof(none));
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "answers", 1);
	expect_report("vss", "state", "no common version");
}
END_TEST

/* Packets that nobody asked for, in every wrong way; the service works on. */
START_TEST(hostile_answers_are_dropped)
{
	uint8_t noise[IC_PACKET_MAX + 64] = {0};
	struct vsc_ic_call call;
	struct ic_header *header = (void *)noise;

	vsc_ic_connect(&ic, "shutdown", (struct ic_version){3, 2}, &channel);
	vsc_ic_send(&ic, &channel, noise, 8);
	vsc_ic_send(&ic, &channel, noise, sizeof(*header));
	vsc_ic_wait_count(&ic, "shutdown", "unexpected", 2);
	vsc_ic_call(&ic, &call, "shutdown", json_object());
	vsc_ic_receive(&ic, &channel, true, &request);
	*header = request.header;
	header->flags = IC_FLAG_RESPONSE;
	header->transaction_id++;
	vsc_ic_send(&ic, &channel, noise, sizeof(*header));
	*header = request.header; /* no response */
	vsc_ic_send(&ic, &channel, noise, sizeof(*header));
	header->flags = IC_FLAG_RESPONSE;
	header->type = IC_NEGOTIATE;
	vsc_ic_send(&ic, &channel, noise, sizeof(*header));
	vsc_ic_wait_count(&ic, "shutdown", "unexpected", 5);
	header->type = IC_SHUTDOWN;
	vsc_ic_send(&ic, &channel, noise, IC_PACKET_MAX + 8);
	vsc_ic_wait_count(&ic, "shutdown", "unexpected", 6);
	ck_assert(!vsc_ic_answered(&call));
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
	/* The same once more is one too many. */
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	vsc_ic_wait_count(&ic, "shutdown", "unexpected", 7);
}
END_TEST

START_TEST(shutdown_asks_for_each_action)
{
	static const char *const actions[] = {"power-off", "restart", "hibernate"};
	static const uint32_t flags[] = {0, 2, 4};
	struct ic_shutdown message;
	struct vsc_ic_call call;
	char text[64];

	vsc_ic_connect(&ic, "shutdown", (struct ic_version){3, 2}, &channel);
	vsc_ic_call(&ic, &call, "shutdown",
		    json_pack("{s:s,s:b,s:s,s:i}", "action", actions[_i], "force", _i == 1,
			      "message", "n\xc3\xa4htlich", "timeout", 77));
	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_SHUTDOWN);
	ck_assert_uint_eq(request.header.version.minor, 2);
	ck_assert_uint_eq(request.header.pipe_size + 8, request.size + sizeof(request.header));
	memcpy(&message, request.body, sizeof(message));
	ck_assert_uint_eq(message.flags, flags[_i] | (_i == 1));
	ck_assert_uint_eq(message.timeout_seconds, 77);
	utf16_decode(message.message, sizeof(message.message), text, sizeof(text));
	ck_assert_str_eq(text, "n\xc3\xa4htlich");
	vsc_ic_answer(&ic, &channel, &request, _i == 2 ? IC_E_FAIL : IC_S_OK);
	ck_assert(vsc_ic_wait(&call) == (_i != 2));
	if (_i == 2)
		ck_assert_ptr_nonnull(strstr(call.sentence, "the guest refuses"));
	json_decref(call.reply);
}
END_TEST

static void expect_refusal(const char *verb, json_t *parameters, const char *words)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, verb, parameters);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_msg(strstr(call.sentence, words), "\"%s\" lacks \"%s\"", call.sentence, words);
}

START_TEST(shutdown_says_why_it_cannot)
{
	char text[IC_SHUTDOWN_MESSAGE / 2 + 1] = "";

	expect_refusal("shutdown", json_object(), "no driver");
	vsc_ic_open(&ic, "shutdown", &channel);
	expect_refusal("shutdown", json_object(), "does not answer yet");
	vsc_ic_negotiate(&ic, &channel, (struct ic_version){3, 0}, (struct ic_version){3, 0});
	vsc_ic_wait_count(&ic, "shutdown", "answers", 1);
	expect_refusal("shutdown", json_pack("{s:s}", "action", "restart"), "3.1");
	expect_refusal("shutdown", json_pack("{s:s}", "action", "hibernate"), "3.2");
	expect_refusal("shutdown", json_pack("{s:s}", "action", "explode"), "power-off");
	expect_refusal("shutdown", json_pack("{s:i}", "timeout", 0), "seconds");
	memset(text, 'x', sizeof(text) - 1);
	expect_refusal("shutdown", json_pack("{s:s}", "message", text), "too long");
	vsc_ic_run(&ic, integration_device.quiesce);
	expect_refusal("shutdown", json_object(), "paused");
	vsc_ic_run(&ic, integration_device.unquiesce);
}
END_TEST

START_TEST(a_guest_that_goes_away_ends_the_call)
{
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "shutdown", (struct ic_version){3, 2}, &channel);
	vsc_ic_call(&ic, &call, "shutdown", json_object());
	expect_refusal("shutdown", json_object(), "busy");
	vsc_ic_receive(&ic, &channel, true, &request);
	vsc_channel_close(&channel);
	ck_assert(!vsc_ic_wait(&call));
	ck_assert_ptr_nonnull(strstr(call.sentence, "restarted"));
	expect_report("shutdown", "state", "no driver");
}
END_TEST

static uint64_t host_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return IC_TIME_OF_1970 + (uint64_t)now.tv_sec * 10000000 + (uint64_t)now.tv_nsec / 100;
}

/* Takes the next time message and answers it: its flags. */
static uint8_t take_time(unsigned int major, uint64_t *time, uint64_t *reference)
{
	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_TIMESYNC);
	*time = get_le64(request.body);
	*reference = get_le64(request.body + 8);
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	return request.body[major == 4 ? 16 : 24];
}

START_TEST(time_is_set_at_first_and_after_a_pause)
{
	static const struct ic_version versions[] = {{4, 0}, {3, 0}, {1, 0}};
	struct timespec pause = {.tv_nsec = 150000000};
	uint64_t before = host_time(), time, reference;
	uint64_t reference_before = hv_partition_time(vsc_hv(ic.vsc));

	vsc_ic_open(&ic, "timesync", &channel);
	vsc_ic_negotiate(&ic, &channel, (struct ic_version){3, 0}, versions[_i]);
	ck_assert_uint_eq(take_time(versions[_i].major, &time, &reference), IC_TIMESYNC_SYNC);
	ck_assert_uint_ge(time, before);
	ck_assert_uint_le(time, host_time());
	if (_i == 0) {
		ck_assert_uint_ge(reference, reference_before);
		ck_assert_uint_le(reference, hv_partition_time(vsc_hv(ic.vsc)));
	}
	vsc_ic_wait_count(&ic, "timesync", "answers", 2);
	vsc_ic_run(&ic, integration_device.quiesce);
	nanosleep(&pause, NULL);
	vsc_ic_run(&ic, integration_device.unquiesce);
	ck_assert_uint_eq(take_time(versions[_i].major, &time, &reference), IC_TIMESYNC_SYNC);
	/* A driver that is loaded anew, as after a reset, gets it again; then samples follow. */
	vsc_channel_close(&channel);
	vsc_ic_open(&ic, "timesync", &channel);
	vsc_ic_negotiate(&ic, &channel, (struct ic_version){3, 0}, versions[_i]);
	ck_assert_uint_eq(take_time(versions[_i].major, &time, &reference), IC_TIMESYNC_SYNC);
	ck_assert_uint_eq(take_time(versions[_i].major, &time, &reference), IC_TIMESYNC_SAMPLE);
	ck_assert_int_eq(count_of("timesync", "syncs"), 3);
	ck_assert_int_eq(count_of("timesync", "samples"), 1);
}
END_TEST

static struct ic_heartbeat take_beat(void)
{
	struct ic_heartbeat beat;

	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_HEARTBEAT);
	memcpy(&beat, request.body, sizeof(beat));
	return beat;
}

static void answer_beat(struct ic_heartbeat beat, uint64_t add, uint32_t applications)
{
	beat.sequence += add;
	beat.application_state = applications;
	memcpy(request.body, &beat, sizeof(beat));
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
}

START_TEST(heartbeats_are_counted)
{
	struct ic_heartbeat beat;

	vsc_ic_connect(&ic, "heartbeat", (struct ic_version){3, 0}, &channel);
	expect_report("heartbeat", "heartbeat", "no contact");
	beat = take_beat();
	ck_assert_uint_eq(beat.sequence, 0);
	answer_beat(beat, 1, IC_APPLICATION_CRITICAL);
	vsc_ic_wait_count(&ic, "heartbeat", "beats", 1);
	expect_report("heartbeat", "heartbeat", "ok");
	expect_report("heartbeat", "applications", "critical");
	beat = take_beat();
	ck_assert_uint_eq(beat.sequence, 1);
	answer_beat(beat, 7, IC_APPLICATION_HEALTHY);
	vsc_ic_wait_count(&ic, "heartbeat", "wrong", 1);
	beat = take_beat();
	ck_assert_uint_eq(beat.sequence, 1);
	/* This one comes late. */
	vsc_ic_wait_count(&ic, "heartbeat", "lost", 1);
	answer_beat(beat, 1, 99);
	vsc_ic_wait_count(&ic, "heartbeat", "beats", 2);
	expect_report("heartbeat", "applications", "unknown");
	ck_assert_int_eq(count_of("heartbeat", "lost_in_a_row"), 0);
}
END_TEST

START_TEST(old_heartbeats_say_nothing_of_applications)
{
	vsc_ic_connect(&ic, "heartbeat", (struct ic_version){1, 0}, &channel);
	answer_beat(take_beat(), 1, IC_APPLICATION_CRITICAL);
	vsc_ic_wait_count(&ic, "heartbeat", "beats", 1);
	expect_report("heartbeat", "applications", "unknown");
}
END_TEST

START_TEST(nothing_moves_while_paused)
{
	struct ic_heartbeat beat;

	vsc_ic_connect(&ic, "heartbeat", (struct ic_version){3, 0}, &channel);
	beat = take_beat();
	vsc_ic_run(&ic, integration_device.quiesce);
	answer_beat(beat, 1, IC_APPLICATION_HEALTHY);
	for (unsigned int i = 0; i < 20; i++)
		ck_assert_int_eq(count_of("heartbeat", "beats"), 0);
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	vsc_ic_run(&ic, integration_device.unquiesce);
	vsc_ic_wait_count(&ic, "heartbeat", "beats", 1);
}
END_TEST

START_TEST(components_can_be_chosen)
{
	json_t *services;
	struct vsc_ic_call call;

	vsc_ic_stop(&ic);
	vsc_ic_start(&ic, json_pack("{s:[{s:s},{s:s,s:s}]}", "components", "name", "heartbeat",
				    "name", "shutdown", "max_version", "3.0"));
	ck_assert_uint_eq(vsc_offer_count(ic.vsc), 2);
	vsc_ic_open(&ic, "shutdown", &channel);
	ck_assert(!vsc_ic_negotiate(&ic, &channel, (struct ic_version){3, 0},
				    (struct ic_version){3, 2}));
	vsc_ic_call(&ic, &call, "service", json_object());
	ck_assert(vsc_ic_wait(&call));
	services = json_object_get(call.reply, "services");
	ck_assert_uint_eq(json_array_size(services), 2);
	json_decref(call.reply);
	expect_refusal("kvp-list", json_pack("{s:s}", "pool", "auto"), "turned off");
}
END_TEST

START_TEST(state_comes_back)
{
	struct vsc_state first, second;

	vsc_ic_connect(&ic, "heartbeat", (struct ic_version){3, 0}, &channel);
	answer_beat(take_beat(), 1, IC_APPLICATION_HEALTHY);
	vsc_ic_wait_count(&ic, "heartbeat", "beats", 1);
	vsc_ic_run(&ic, integration_device.quiesce);
	first = second = (struct vsc_state){.ops = &integration_device, .device = ic.device};
	vsc_main(ic.vsc, vsc_state_save, &first);
	ck_assert_int_eq(first.result, 0);
	/* Into a device whose guest has the channel open, as the bus's restore leaves it. */
	vsc_main(ic.vsc, vsc_state_restore, &first);
	ck_assert_int_eq(first.result, 0);
	vsc_main(ic.vsc, vsc_state_save, &second);
	ck_assert_uint_eq(second.size, first.size);
	ck_assert_mem_eq(second.tree, first.tree, first.size);
	vsc_ic_run(&ic, integration_device.unquiesce);
	ck_assert_uint_eq(take_beat().sequence, 1);
	free(first.tree);
	/* Into one whose guest has it closed, it does not fit. */
	vsc_channel_close(&channel);
	vsc_main(ic.vsc, vsc_state_restore, &second);
	ck_assert_int_lt(second.result, 0);
	free(second.tree);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ic", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_loop_test(test_case, every_version_can_be_agreed, 0,
			    2 * ARRAY_LENGTH(all_versions));
	tcase_add_test(test_case, versions_that_were_not_offered_are_refused);
	tcase_add_test(test_case, a_driver_that_knows_no_version_is_heard);
	tcase_add_test(test_case, hostile_answers_are_dropped);
	tcase_add_loop_test(test_case, shutdown_asks_for_each_action, 0, 3);
	tcase_add_test(test_case, shutdown_says_why_it_cannot);
	tcase_add_test(test_case, a_guest_that_goes_away_ends_the_call);
	tcase_add_loop_test(test_case, time_is_set_at_first_and_after_a_pause, 0, 3);
	tcase_add_test(test_case, heartbeats_are_counted);
	tcase_add_test(test_case, old_heartbeats_say_nothing_of_applications);
	tcase_add_test(test_case, nothing_moves_while_paused);
	tcase_add_test(test_case, components_can_be_chosen);
	tcase_add_test(test_case, state_comes_back);
	return suite_run(suite);
}
