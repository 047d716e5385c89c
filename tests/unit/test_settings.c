#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mgmt/vmms/settings_schema.h"
#include "settings_examples.h"
#include "suite.h"

/* What a definition may say, and what comes of it. */

static void expect(const json_t *json, const char *text)
{
	json_t *wanted = json_of(text);

	if (!json_equal(json, wanted))
		ck_abort_msg("%s is not %s", json_dumps(json, JSON_ENCODE_ANY), text);
	json_decref(wanted);
}

static void expect_member(const struct settings *settings, const char *member, const char *text)
{
	expect(settings_get(settings, member), text);
}

/* Refused, with a sentence on that member that tells what to do. */
static void expect_refusal(const char *text, const char *member)
{
	struct error err = {"nothing"};
	struct settings *settings = NULL;
	char found[SETTINGS_MEMBER_SIZE];
	json_t *json = json_of(text);
	int r = settings_parse(json, &settings, &err);

	ck_assert_msg(r == -EINVAL, "%d for %s", r, text);
	ck_assert_ptr_null(settings);
	settings_member(&err, found);
	ck_assert_msg(!strcmp(found, member), "%s: %s", text, err.text);
	json_decref(json);
}

START_TEST(defaults_are_filled)
{
	struct settings *settings = settings_of("{" MINIMAL "}");
	json_t *json = settings_json(settings);
	struct settings *again;
	struct error err;

	ck_assert_str_eq(settings_name(settings), "a");
	ck_assert_uint_eq(strlen(settings_uuid(settings)), 36);
	ck_assert_uint_eq(settings_revision(settings), 1);
	ck_assert_uint_eq(settings_processors(settings), 1);
	ck_assert_uint_eq(settings_memory(settings), 67108864);
	ck_assert_uint_eq(settings_memory_maximum(settings), 67108864);
	ck_assert_uint_eq(settings_owner(settings)->uid, geteuid());
	ck_assert_int_eq(settings_policy(settings)->start, SETTINGS_START_NOTHING);
	ck_assert_int_eq(settings_policy(settings)->stop, SETTINGS_STOP_SHUT_DOWN);
	expect_member(settings, "generation", "2");
	expect_member(settings, "disks", "[]");
	expect_member(settings, "nics", "[]");
	expect_member(settings, "access", "[]");
	expect_member(settings, "console", "{'kind':'ring'}");
	expect_member(settings, "on_reset", "'restart'");
	expect_member(settings, "stop_action", "'shut_down'");
	expect_member(settings, "on_crash", "{'restart':false,'delay':5,'limit':5}");
	expect_member(settings, "integration",
		      "{'shutdown':true,'time':true,'heartbeat':true,'kvp':true,'vss':true,"
		      "'copy':true}");
	/* What was filled in stays as it is. */
	ck_assert(!settings_parse(json, &again, &err));
	ck_assert(settings_equal(settings, again));
	ck_assert_str_eq(settings_uuid(again), settings_uuid(settings));
	json_decref(json);
	settings_free(again);
	settings_free(settings);
}
END_TEST

START_TEST(null_is_as_good_as_nothing)
{
	struct settings *settings = settings_of(
		"{" MINIMAL ",'notes':null,'disks':null,'console':{'kind':null},'resources':null}");

	ck_assert_ptr_null(settings_get(settings, "notes"));
	expect_member(settings, "console", "{'kind':'ring'}");
	settings_free(settings);
}
END_TEST

START_TEST(everything_is_kept)
{
	static const char whole[] =
		"{'version':1,'uuid':'6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1','name':'web.1',"
		"'notes':'two\\nlines','owner':{'uid':1000,'gid':100},'revision':7,'generation':2,"
		"'processors':{'count':64},'memory':{'startup':134217728,'minimum':67108864,"
		"'maximum':268435456,'buffer':30,'weight':0},'boot':{'kernel':'/k','initrd':'/i',"
		"'command_line':'console=ttyS0','vmbus_max_version':'4.1','stimer':true,"
		"'device_tree':true},'controllers':3,'disks':[{'name':'root','kind':'disk','path':'"
		"/d,1.vhdx',"
		"'read_only':true,'direct':true,'format':'vhdx','lun':5,'controller':'scsi2','iops'"
		":100,"
		"'bandwidth':1048576,'attached_by':0},{'name':'dvd','kind':'cdrom','lun':0},"
		"{'name':'far','kind':'disk','path':'nbd://h/x','lun':2,'timeout':9},"
		"{'name':'s','kind':'seed','path':'/s','lun':1}],'nics':[{'name':'n','kind':"
		"'switch','switch':'default','mac':'00:15:5d:00:00:02','queues':4,'bandwidth':"
		"1000000,'attached_by':5},{'name':'t','kind':'tap','interface':'tap0','mac':"
		"'00:15:5d:00:00:03'},{'name':'u','kind':'user','mac':'00:15:5d:00:00:04'},"
		"{'name':'v','kind':'stream','path':'/s','mac':'00:15:5d:00:00:05'}],'console':"
		"{'kind':'none'},'display':{'width':640,'height':480,'vnc':'127.0.0.1:5900'},"
		"'hvsock':{'path':'/h'},'integration':{'shutdown':false,'time':true,'heartbeat':"
		"true,'kvp':true,'vss':false,'copy':true},'start_action':{'kind':'if_ran',"
		"'delay':3},'stop_action':'turn_off','on_crash':{'restart':true,'delay':0,'limit':"
		"1},'on_reset':'stop','resources':{'cpu_weight':100,'cpu_cap':200,'cpu_reserve':"
		"50,'memory_max':536870912,'io_weight':10000},'access':[{'user':'ann','right':"
		"'connect'},{'group':'ann','right':'administer'}]}";
	struct settings *settings = settings_of(whole);
	const struct settings_resources *resources = settings_resources(settings);
	const struct settings_policy *policy = settings_policy(settings);
	json_t *json = settings_json(settings);

	expect(json, whole);
	ck_assert_uint_eq(settings_memory_maximum(settings), 268435456);
	ck_assert_uint_eq(settings_owner(settings)->gid, 100);
	ck_assert_int_eq(policy->start, SETTINGS_START_IF_RAN);
	ck_assert_uint_eq(policy->start_delay, 3);
	ck_assert_int_eq(policy->stop, SETTINGS_STOP_TURN_OFF);
	ck_assert(policy->restart_on_crash);
	ck_assert_uint_eq(policy->crash_delay, 0);
	ck_assert_uint_eq(policy->crash_limit, 1);
	ck_assert_uint_eq(resources->cpu_weight, 100);
	ck_assert_uint_eq(resources->cpu_cap, 200);
	ck_assert_uint_eq(resources->cpu_reserve, 50);
	ck_assert_uint_eq(resources->memory_max, 536870912);
	ck_assert_uint_eq(resources->io_weight, 10000);
	json_decref(json);
	settings_free(settings);
}
END_TEST

#define DISK(more) "{" MINIMAL ",'disks':[{'kind':'disk','path':'/d'},{" more "}]}"
#define NIC(more)  "{" MINIMAL ",'nics':[{'kind':'user'},{" more "}]}"
#define WITH(more) "{" MINIMAL "," more "}"
#define LEGACY	   "{'kind':'user','legacy':true}"
#define MAIN(version, name, count, startup, kernel)                                                \
	"{'version':" version ",'name':" name ",'processors':{'count':" count                      \
	"},'memory':{'startup':" startup "},'boot':{'kernel':" kernel "}}"

static const struct {
	const char *text;
	const char *member;
} wrong[] = {
	{"[]", ""},
	{"7", ""},
	{"{}", "version"},
	{"{'version':1,'name':'a','processors':{'count':1},'memory':{'startup':67108864}}",
	 "boot.kernel"},
	{MAIN("2", "'a'", "1", "67108864", "'/k'"), "version"},
	{MAIN("'1'", "'a'", "1", "67108864", "'/k'"), "version"},
	{MAIN("1", "7", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "''", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'.a'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'a b'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'a/b'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'\xc3\xa4'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'a\\nb'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'6E0C6D8E-8D0B-4A61-9D35-0D6F3F0AD5F1'", "1", "67108864", "'/k'"), "name"},
	{MAIN("1", "'a'", "0", "67108864", "'/k'"), "processors.count"},
	{MAIN("1", "'a'", "65", "67108864", "'/k'"), "processors.count"},
	{MAIN("1", "'a'", "1.0", "67108864", "'/k'"), "processors.count"},
	{MAIN("1", "'a'", "null", "67108864", "'/k'"), "processors.count"},
	{MAIN("1", "'a'", "1", "67108865", "'/k'"), "memory.startup"},
	{MAIN("1", "'a'", "1", "4096", "'/k'"), "memory.startup"},
	{MAIN("1", "'a'", "1", "-67108864", "'/k'"), "memory.startup"},
	{MAIN("1", "'a'", "1", "9007199254740992", "'/k'"), "memory.startup"},
	{MAIN("1", "'a'", "1", "67108864", "'k'"), "boot.kernel"},
	{MAIN("1", "'a'", "1", "67108864", "'/'"), "boot.kernel"},
	{MAIN("1", "'a'", "1", "67108864", "'/a\\tb'"), "boot.kernel"},
	{WITH("'uuid':'7'"), "uuid"},
	{WITH("'uuid':'00000000-0000-0000-0000-000000000000'"), "uuid"},
	{WITH("'foo':1"), "foo"},
	{WITH("'a: \\u001b[0m':null"), "a????0m"},
	{WITH("'notes':[]"), "notes"},
	{WITH("'generation':3"), "generation"},
	{WITH("'generation':1"), "boot.kernel"},
	{WITH("'boot':{'kernel':'/k','order':'cd'}"), "boot.order"},
	{WITH("'boot':{'kernel':'/k','firmware':'/f'}"), "boot.firmware"},
	{WITH("'boot':{'kernel':'/k','firmware_log':'/l'}"), "boot.firmware_log"},
	{PC("'boot':{'initrd':'/i'}"), "boot.initrd"},
	{PC("'boot':{'command_line':'x'}"), "boot.command_line"},
	{PC("'boot':{'device_tree':true}"), "boot.device_tree"},
	{PC("'boot':{'order':'disk,cd,disk'}"), "boot.order"},
	{PC("'boot':{'order':'usb'}"), "boot.order"},
	{PC("'boot':{'firmware':'f'}"), "boot.firmware"},
	{PC("'boot':{'firmware_log':'l'}"), "boot.firmware_log"},
	{PC("'boot':{'menu':61}"), "boot.menu"},
	{WITH("'boot':{'kernel':'/k','menu':5}"), "boot.menu"},
	{PC("'disks':[{'kind':'floppy'}]"), "disks[0].path"},
	{PC("'disks':[{'kind':'floppy','path':'/f','lun':1}]"), "disks[0].lun"},
	{PC("'disks':[{'kind':'floppy','path':'/f','format':'raw'}]"), "disks[0].format"},
	{PC("'disks':[{'kind':'floppy','path':'/f'},{'kind':'floppy','path':'/g'}]"),
	 "disks[1].kind"},
	{PC("'nics':[{'kind':'switch','legacy':true,'queues':2}]"), "nics[0].queues"},
	{PC("'nics':[{'kind':'user','legacy':true,'bandwidth':100000}]"), "nics[0].bandwidth"},
	{PC("'nics':[" LEGACY "," LEGACY "," LEGACY "," LEGACY "," LEGACY "]"), "nics[4].legacy"},
	{NIC("'kind':'user','legacy':true"), "nics[1].legacy"},
	{WITH("'revision':0"), "revision"},
	{WITH("'owner':{'uid':1}"), "owner.gid"},
	{WITH("'owner':{'uid':4294967295,'gid':0}"), "owner.uid"},
	{WITH("'disks':{}"), "disks"},
	{WITH("'disks':[7]"), "disks[0]"},
	{DISK("'kind':'floppy','path':'/f'"), "disks[1].kind"},
	{DISK("'kind':'disk'"), "disks[1].path"},
	{DISK("'kind':'seed'"), "disks[1].path"},
	{DISK("'kind':'disk','path':'d'"), "disks[1].path"},
	{DISK("'kind':'cdrom','path':'nbd://h/x'"), "disks[1].path"},
	{DISK("'kind':'cdrom','path':'none'"), "disks[1].path"},
	{DISK("'kind':'cdrom','read_only':true"), "disks[1].read_only"},
	{DISK("'kind':'disk','path':'/d','lun':64"), "disks[1].lun"},
	{DISK("'kind':'disk','path':'/d','format':'qcow2'"), "disks[1].format"},
	{DISK("'kind':'disk','path':'nbd://h/x','format':'raw'"), "disks[1].format"},
	{DISK("'kind':'disk','path':'nbd://h/x','direct':true"), "disks[1].direct"},
	{DISK("'kind':'disk','path':'/d','timeout':5"), "disks[1].timeout"},
	{DISK("'kind':'disk','path':'/d','bandwidth':5"), "disks[1].bandwidth"},
	{DISK("'kind':'disk','path':'/d','read_only':1"), "disks[1].read_only"},
	{DISK("'kind':'disk','path':'/d','speed':1"), "disks[1].speed"},
	{DISK("'kind':'disk','path':'/d','name':'x y'"), "disks[1].name"},
	{WITH("'disks':[{'kind':'cdrom','name':'x'},{'kind':'cdrom','name':'x'}]"),
	 "disks[0].name"},
	{WITH("'disks':[{'kind':'cdrom','lun':1},{'kind':'cdrom','lun':1}]"), "disks[0].lun"},
	{WITH("'controllers':0"), "controllers"},
	{WITH("'controllers':9"), "controllers"},
	{WITH("'controllers':2,'disks':[{'kind':'cdrom','controller':'scsi2'}]"),
	 "disks[0].controller"},
	{WITH("'controllers':8,'disks':[{'kind':'cdrom','controller':'scsi8'}]"),
	 "disks[0].controller"},
	{WITH("'disks':[{'kind':'cdrom','controller':1}]"), "disks[0].controller"},
	{WITH("'controllers':2,'disks':[{'kind':'cdrom','lun':1,'controller':'scsi1'},"
	      "{'kind':'cdrom','lun':1,'controller':'scsi1'}]"),
	 "disks[0].lun"},
	{PC("'disks':[{'kind':'floppy','path':'/f','controller':'scsi'}]"), "disks[0].controller"},
	{NIC("'kind':'tap'"), "nics[1].interface"},
	{NIC("'kind':'tap','interface':'a/b'"), "nics[1].interface"},
	{NIC("'kind':'tap','interface':'a,mac=00:15:5d:00:00:01'"), "nics[1].interface"},
	{NIC("'kind':'tap','interface':'0123456789abcdef'"), "nics[1].interface"},
	{NIC("'kind':'stream'"), "nics[1].path"},
	{NIC("'kind':'user','path':'/p'"), "nics[1].path"},
	{NIC("'kind':'user','switch':'default'"), "nics[1].switch"},
	{NIC("'kind':'user','queues':2"), "nics[1].queues"},
	{NIC("'kind':'switch','queues':17"), "nics[1].queues"},
	{NIC("'kind':'user','mac':'01:00:00:00:00:00'"), "nics[1].mac"},
	{NIC("'kind':'user','mac':'00:00:00:00:00:02,queues=1'"), "nics[1].mac"},
	{NIC("'kind':'user','bandwidth':1"), "nics[1].bandwidth"},
	{WITH("'nics':[{'kind':'user','mac':'02:00:00:00:00:0a'},"
	      "{'kind':'user','mac':'02-00-00-00-00-0A'}]"),
	 "nics[0].mac"},
	{WITH("'console':{'kind':'stdio'}"), "console.kind"},
	{WITH("'display':{'width':640}"), "display.height"},
	{WITH("'display':{'width':1,'height':1}"), "display.width"},
	{WITH("'display':{'vnc':'0.0.0.0:5900'}"), "display.vnc"},
	{WITH("'display':{'vnc':'unix:v'}"), "display.vnc"},
	{WITH("'hvsock':{'path':'h'}"), "hvsock.path"},
	{WITH("'hvsock':{'path':'/0123456789012345678901234567890123456789012345678901234567890123"
	      "45678901234567890123456789012345'}"),
	 "hvsock.path"},
	{WITH("'integration':{'kvp':1}"), "integration.kvp"},
	{WITH("'start_action':{'kind':'if-ran'}"), "start_action.kind"},
	{WITH("'start_action':'always'"), "start_action"},
	{WITH("'stop_action':'sleep'"), "stop_action"},
	{WITH("'on_reset':7"), "on_reset"},
	{WITH("'resources':{'cpu_weight':0}"), "resources.cpu_weight"},
	{WITH("'resources':{'cpu_cap':10,'cpu_reserve':11}"), "resources.cpu_reserve"},
	{WITH("'resources':{'memory_max':67108863}"), "resources.memory_max"},
	{WITH("'access':[{'right':'connect'}]"), "access[0]"},
	{WITH("'access':[{'user':'a','group':'b','right':'connect'}]"), "access[0]"},
	{WITH("'access':[{'user':'a b','right':'connect'}]"), "access[0].user"},
	{WITH("'access':[{'user':'a','right':'connect'},{'user':'a','right':'operate'}]"),
	 "access[1].user"},
	{WITH("'access':[{'user':'a','right':'root'}]"), "access[0].right"},
};

START_TEST(what_is_wrong_is_named)
{
	expect_refusal(wrong[_i].text, wrong[_i].member);
}
END_TEST

#define MEMORY(more)                                                                               \
	"{'version':1,'name':'a','processors':{'count':1},'boot':{'kernel':'/k'},'memory':"        \
	"{'startup':67108864," more "}}"

START_TEST(memory_limits_fit)
{
	expect_refusal(MEMORY("'minimum':67112960"), "memory.minimum");
	expect_refusal(MEMORY("'maximum':67104768"), "memory.maximum");
	expect_refusal(MEMORY("'buffer':20"), "memory.buffer");
	expect_refusal(MEMORY("'weight':20"), "memory.weight");
	expect_refusal(MEMORY("'maximum':134217728,'buffer':4"), "memory.buffer");
	settings_free(settings_of(MEMORY("'maximum':134217728,'buffer':5")));
}
END_TEST

START_TEST(a_string_ends_where_it_ends)
{
	json_t *json = json_of("{" MINIMAL "}");
	struct settings *settings;
	struct error err;
	char member[SETTINGS_MEMBER_SIZE];

	json_object_set_new(json, "name", json_stringn("a\0b", 3));
	ck_assert_int_eq(settings_parse(json, &settings, &err), -EINVAL);
	settings_member(&err, member);
	ck_assert_str_eq(member, "name");
	json_object_set_new(json, "name", json_stringn_nocheck("a\xff", 2));
	ck_assert_int_eq(settings_parse(json, &settings, &err), -EINVAL);
	json_object_set_new(json, "name", json_string("a"));
	json_object_set_new(json, "stop_action", json_stringn("turn_off\0b", 10));
	ck_assert_int_eq(settings_parse(json, &settings, &err), -EINVAL);
	json_decref(json);
}
END_TEST

static void expect_too_many(const char *member, const char *item, size_t count)
{
	json_t *json = json_of("{" MINIMAL "}");
	json_t *list = json_array();
	struct settings *settings;
	struct error err;
	char found[SETTINGS_MEMBER_SIZE];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_of(item));
	json_object_set_new(json, member, list);
	ck_assert(!settings_parse(json, &settings, &err));
	settings_free(settings);
	json_array_append_new(list, json_of(item));
	ck_assert_int_eq(settings_parse(json, &settings, &err), -EINVAL);
	settings_member(&err, found);
	ck_assert_str_eq(found, member);
	json_decref(json);
}

START_TEST(lists_end)
{
	expect_too_many("disks", "{'kind':'cdrom'}", 64);
	expect_too_many("nics", "{'kind':'user'}", 8);
}
END_TEST

START_TEST(a_generation_1_vm_boots_from_its_disks)
{
	struct settings *settings = settings_of(PC(
		"'disks':[{'kind':'disk','path':'/a'},{'kind':'floppy','path':'/f'},"
		"{'kind':'cdrom'},{'kind':'disk','path':'/b','lun':0},{'kind':'disk','path':'/c'},"
		"{'kind':'disk','path':'/d'},{'kind':'disk','path':'/e'}],'nics':[" LEGACY "]"));
	const json_t *disks = settings_disks(settings);
	static const int luns[] = {-1, -1, -1, 0, -1, -1, 1};

	expect_member(settings, "generation", "1");
	expect_member(settings, "boot", "{'stimer':false,'device_tree':false}");
	for (size_t i = 0; i < sizeof(luns) / sizeof(luns[0]); i++) {
		const json_t *lun = json_object_get(json_array_get(disks, i), "lun");

		ck_assert_int_eq(lun ? json_integer_value(lun) : -1, luns[i]);
	}
	settings_free(settings);
}
END_TEST

START_TEST(long_texts_are_refused)
{
	json_t *json = json_of("{" MINIMAL ",'boot':{'kernel':'/k'}}");
	char *text = malloc(70000);
	struct settings *settings;
	struct error err;

	memset(text, 'x', 70000);
	text[65537] = '\0';
	json_object_set_new(json_object_get(json, "boot"), "command_line", json_string(text));
	ck_assert_int_eq(settings_parse(json, &settings, &err), -EINVAL);
	text[65536] = '\0';
	json_object_set_new(json_object_get(json, "boot"), "command_line", json_string(text));
	ck_assert(!settings_parse(json, &settings, &err));
	settings_free(settings);
	free(text);
	json_decref(json);
}
END_TEST

/* A LUN is free or not on its own controller; a PC's other controllers are not IDE. */
START_TEST(each_controller_has_its_luns)
{
	struct settings *settings = settings_of(
		"{" MINIMAL ",'controllers':2,'disks':[{'kind':'cdrom','controller':'scsi1'},"
		"{'kind':'cdrom'},{'kind':'cdrom','lun':0,'controller':'scsi'},"
		"{'kind':'cdrom','controller':'scsi1'}]}");

	ck_assert_uint_eq(settings_controllers(settings), 2);
	expect(settings_disks(settings),
	       "[{'name':'disk0','kind':'cdrom','lun':0,'controller':'scsi1'},"
	       "{'name':'disk1','kind':'cdrom','lun':1},{'name':'disk2','kind':'cdrom','lun':0},"
	       "{'name':'disk3','kind':'cdrom','lun':1,'controller':'scsi1'}]");
	settings_free(settings);
	settings = settings_of(PC("'controllers':2,'disks':[{'kind':'cdrom','controller':'scsi1'},"
				  "{'kind':'cdrom'}]"));
	expect(settings_disks(settings),
	       "[{'name':'disk0','kind':'cdrom','lun':0,'controller':'scsi1'},"
	       "{'name':'disk1','kind':'cdrom'}]");
	settings_free(settings);
}
END_TEST

START_TEST(names_numbers_and_addresses_are_made)
{
	struct settings *settings = settings_of(
		"{" MINIMAL ",'uuid':'6E0C6D8E-8D0B-4A61-9D35-0D6F3F0AD5F1','disks':["
		"{'kind':'cdrom','name':'disk1'},{'kind':'cdrom','lun':0},{'kind':'cdrom'}],"
		"'nics':[{'kind':'switch'},{'kind':'user','mac':'02-AA-00-00-00-01'},"
		"{'kind':'user'}]}");
	struct settings *renamed = settings_of(
		"{" MINIMAL ",'name':'b','uuid':'6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1','nics':["
		"{'kind':'switch'},{'kind':'user','mac':'02:aa:00:00:00:01'},{'kind':'user'}]}");
	const json_t *nics = settings_nics(settings);

	ck_assert_str_eq(settings_uuid(settings), "6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1");
	expect(settings_disks(settings), "[{'name':'disk1','kind':'cdrom','lun':1},"
					 "{'name':'disk2','kind':'cdrom','lun':0},"
					 "{'name':'disk3','kind':'cdrom','lun':2}]");
	expect(json_array_get(nics, 1), "{'name':'nic1','kind':'user','mac':'02:aa:00:00:00:01'}");
	expect(json_object_get(json_array_get(nics, 0), "switch"), "'default'");
	ck_assert(!strncmp(json_string_value(json_object_get(json_array_get(nics, 0), "mac")),
			   "00:15:5d:", 9));
	ck_assert(!json_equal(json_object_get(json_array_get(nics, 0), "mac"),
			      json_object_get(json_array_get(nics, 2), "mac")));
	/* The UUID decides, so a VM keeps its addresses under a new name. */
	ck_assert(json_equal(nics, settings_nics(renamed)));
	settings_free(renamed);
	settings_free(settings);
}
END_TEST

static struct settings *change(const struct settings *old, const char *text)
{
	json_t *json = json_of(text);
	struct settings *settings;
	struct error err;

	ck_assert_msg(!settings_change(old, json, &settings, &err), "%s", err.text);
	json_decref(json);
	return settings;
}

START_TEST(a_change_merges)
{
	struct settings *old = settings_of("{" MINIMAL ",'notes':'n','boot':{'kernel':'/k',"
					   "'initrd':'/i'},'resources':{'cpu_weight':5}}");
	struct settings *new = change(old, "{'boot':{'initrd':null,'command_line':'x'},"
					   "'notes':null,'name':'b','resources':{'cpu_cap':7}}");

	ck_assert_str_eq(settings_uuid(new), settings_uuid(old));
	ck_assert_str_eq(settings_name(new), "b");
	ck_assert_uint_eq(settings_revision(new), 2);
	ck_assert_ptr_null(settings_get(new, "notes"));
	expect_member(new, "boot",
		      "{'kernel':'/k','command_line':'x','stimer':false,'device_tree':false}");
	expect_member(new, "resources", "{'cpu_weight':5,'cpu_cap':7}");
	expect_member(old, "resources", "{'cpu_weight':5}");
	settings_free(new);
	new = change(old, "{'resources':null}");
	expect_member(new, "resources", "{}");
	settings_free(new);
	settings_free(old);
}
END_TEST

START_TEST(no_change_is_no_revision)
{
	struct settings *old = settings_of("{" MINIMAL "}");
	struct settings *new = change(old, "{'name':'a','version':1,'notes':null}");

	ck_assert_ptr_eq(new, old);
	settings_free(new);
	ck_assert_str_eq(settings_name(old), "a");
	settings_free(old);
}
END_TEST

START_TEST(some_things_stay)
{
	static const struct {
		const char *change, *member;
	} refused[] = {
		{"{'uuid':'6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1'}", "uuid"},
		{"{'uuid':null}", "uuid"},
		{"{'version':2}", "version"},
		{"{'revision':9}", "revision"},
		{"{'generation':1}", "generation"},
		{"[]", "change"},
		{"{'name':null}", "name"},
		{"{'boot':{'kernel':null}}", "boot.kernel"},
		{"{'boot':{'kernel':{'a':{'b':{'c':{}}}}}}", "boot.kernel"},
		{"{'disks':{'0':{}}}", "disks"},
		{"{'nothing':{'a':1}}", "nothing"},
	};
	struct settings *old = settings_of("{" MINIMAL "}");
	struct settings *new = NULL;
	char member[SETTINGS_MEMBER_SIZE];
	struct error err;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		json_t *json = json_of(refused[i].change);

		ck_assert_int_eq(settings_change(old, json, &new, &err), -EINVAL);
		settings_member(&err, member);
		ck_assert_msg(!strcmp(member, refused[i].member), "%s", err.text);
		json_decref(json);
	}
	ck_assert_ptr_null(new);
	settings_free(old);
}
END_TEST

static json_int_t attached_by(const json_t *list, size_t place)
{
	return json_integer_value(json_object_get(json_array_get(list, place), "attached_by"));
}

START_TEST(who_attached_is_not_claimed)
{
	struct settings *claimed =
		settings_of("{" MINIMAL ",'disks':[{'kind':'disk','path':'/a','attached_by':0},"
			    "{'kind':'disk','path':'/b','read_only':true}]}");
	struct settings *first, *second, *changed;
	struct error err;

	ck_assert(!settings_attach(NULL, claimed, 1000, &first, &err));
	ck_assert_int_eq(attached_by(settings_disks(first), 0), 1000);
	changed = change(first, "{'disks':[{'name':'disk0','kind':'disk','path':'/a','iops':7,"
				"'attached_by':0},"
				"{'name':'disk1','kind':'disk','path':'/b'},"
				"{'kind':'disk','path':'/a'}]}");
	ck_assert(!settings_attach(first, changed, 7, &second, &err));
	ck_assert_int_eq(attached_by(settings_disks(second), 0), 1000);
	/* To write where only reading was allowed is another matter. */
	ck_assert_int_eq(attached_by(settings_disks(second), 1), 7);
	ck_assert_int_eq(attached_by(settings_disks(second), 2), 7);
	settings_free(second);
	settings_free(changed);
	settings_free(first);
	settings_free(claimed);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("settings", &test_case);

	tcase_add_test(test_case, defaults_are_filled);
	tcase_add_test(test_case, null_is_as_good_as_nothing);
	tcase_add_test(test_case, everything_is_kept);
	tcase_add_loop_test(test_case, what_is_wrong_is_named, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(test_case, memory_limits_fit);
	tcase_add_test(test_case, a_string_ends_where_it_ends);
	tcase_add_test(test_case, lists_end);
	tcase_add_test(test_case, a_generation_1_vm_boots_from_its_disks);
	tcase_add_test(test_case, long_texts_are_refused);
	tcase_add_test(test_case, each_controller_has_its_luns);
	tcase_add_test(test_case, names_numbers_and_addresses_are_made);
	tcase_add_test(test_case, a_change_merges);
	tcase_add_test(test_case, no_change_is_no_revision);
	tcase_add_test(test_case, some_things_stay);
	tcase_add_test(test_case, who_attached_is_not_claimed);
	return suite_run(suite);
}
