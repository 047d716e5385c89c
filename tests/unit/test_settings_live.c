#include <errno.h>
#include <string.h>

#include "mgmt/run_options.h"
#include "mgmt/vmms/settings_arguments.h"
#include "mgmt/vmms/settings_live.h"
#include "settings_examples.h"
#include "suite.h"

/* Settings as a supervisor's words, and their changes as calls to one. */

#define UUID "'uuid':'6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1'"

static int count_words(char **words)
{
	int count = 0;

	while (words[count])
		count++;
	return count;
}

/* What `run` makes of the words, which stay for as long as it does. */
static char **read_back(const char *text, const struct launch_files *files,
			struct run_options *options)
{
	struct settings *settings = settings_of(text);
	struct error err;
	char **words;

	ck_assert_msg(!settings_arguments(settings, files, &words, &err), "%s", err.text);
	ck_assert_msg(!run_options_parse(count_words(words), words, true, options, &err), "%s",
		      err.text);
	settings_free(settings);
	return words;
}

START_TEST(run_reads_what_was_meant)
{
	const struct launch_files none = {.nics = {{.count = 0}}};
	struct run_options options;
	char **words = read_back(
		"{" MINIMAL "," UUID
		",'processors':{'count':3},'controllers':2,'memory':{'startup':134217728,"
		"'maximum':268435456,'weight':7},'boot':{'kernel':'/k','initrd':'/i,1',"
		"'command_line':'--dtb a=b','vmbus_max_version':'4.0','stimer':true},'disks':["
		"{'kind':'disk','path':'/d,,e,ro.vhdx','direct':true,'lun':7,'iops':5},"
		"{'kind':'cdrom'},{'kind':'cdrom','path':'/none'},{'kind':'disk','path':"
		"'nbd://h/x','timeout':9},{'kind':'seed','path':'/s','controller':'scsi1'}],"
		"'nics':[{'kind':'stream','path':'/n,1','mac':'02:00:00:00:00:05','bandwidth':"
		"5000},{'kind':'tap','interface':'tap0','queues':2},{'kind':'user'}],"
		"'display':{'vnc':'unix:/v,w'},'hvsock':{'path':'/h'},'integration':{'kvp':false,"
		"'vss':false},'console':{'kind':'none'},'on_reset':'stop'}",
		&none, &options);

	ck_assert_str_eq(options.name, "a");
	ck_assert_uint_eq(options.cpus, 3);
	ck_assert(options.memory.dynamic);
	ck_assert_uint_eq(options.memory.startup, 134217728);
	ck_assert_uint_eq(options.memory.minimum, 134217728);
	ck_assert_uint_eq(options.memory.maximum, 268435456);
	ck_assert_uint_eq(options.memory.weight, 7);
	ck_assert_str_eq(options.kernel, "/k");
	ck_assert_str_eq(options.initrd, "/i,1");
	ck_assert_str_eq(options.append, "--dtb a=b");
	ck_assert_str_eq(options.vmbus_max_version, "4.0");
	ck_assert(options.stimer);
	ck_assert(!options.device_tree);
	ck_assert_uint_eq(options.controllers, 2);
	ck_assert_uint_eq(options.disks[3].controller, 0);
	ck_assert_uint_eq(options.disks[4].controller, 1);
	ck_assert_uint_eq(options.disk_count, 5);
	ck_assert_str_eq(options.disks[0].path, "/d,,e,ro.vhdx");
	ck_assert_str_eq(options.disks[0].format, "vhdx");
	ck_assert(options.disks[0].direct);
	ck_assert(!options.disks[0].read_only);
	ck_assert_int_eq(options.disks[0].lun, 7);
	ck_assert_uint_eq(options.disks[0].iops, 5);
	ck_assert_ptr_null(options.disks[1].path);
	ck_assert_int_eq(options.disks[1].lun, 0);
	ck_assert_str_eq(options.disks[2].path, "/none");
	ck_assert_uint_eq(options.disks[3].timeout, 9);
	ck_assert(options.disks[4].seed);
	ck_assert_uint_eq(options.nic_count, 3);
	ck_assert_str_eq(options.nics[0].where, "/n,1");
	ck_assert_uint_eq(options.nics[0].bandwidth, 5000);
	ck_assert_uint_eq(options.nics[0].mac[5], 5);
	ck_assert_uint_eq(options.nics[1].queues, 2);
	ck_assert_str_eq(options.display.vnc_path, "/v,w");
	ck_assert_uint_eq(options.display.width, 1024);
	ck_assert_str_eq(options.hvsock_path, "/h");
	ck_assert_uint_eq(json_array_size(json_object_get(options.integration, "components")), 4);
	ck_assert_int_eq(options.console, RUN_CONSOLE_NONE);
	ck_assert(!options.restart);
	run_options_clear(&options);
	settings_arguments_free(words);
}
END_TEST

START_TEST(little_is_said_of_a_small_vm)
{
	const struct launch_files none = {.nics = {{.count = 0}}};
	struct run_options options;
	char **words = read_back("{" MINIMAL ",'integration':{'shutdown':false,'time':false,"
				 "'heartbeat':false,'kvp':false,'vss':false,'copy':false}}",
				 &none, &options);

	ck_assert(!options.memory.dynamic);
	ck_assert_uint_eq(options.memory.startup, 67108864);
	ck_assert_ptr_null(options.integration);
	ck_assert_int_eq(options.console, RUN_CONSOLE_RING);
	ck_assert(options.restart);
	ck_assert(!options.display.wanted);
	run_options_clear(&options);
	settings_arguments_free(words);
}
END_TEST

START_TEST(a_pc_is_started_as_one)
{
	const struct launch_files none = {.nics = {{.count = 0}}};
	struct run_options options;
	char **words = read_back(
		PC(UUID ",'boot':{'order':'floppy,disk','menu':9,'firmware':'/b,1',"
			"'firmware_log':'/l'},'disks':["
			"{'kind':'disk','path':'/a'},{'kind':'floppy','path':'/f,1','read_only':"
			"true},{'kind':'disk','path':'/b','lun':2}],'nics':[{'kind':'user',"
			"'legacy':true}]"),
		&none, &options);

	ck_assert(options.generation1);
	ck_assert_str_eq(options.boot_order, "floppy,disk");
	ck_assert_str_eq(options.firmware, "/b,1");
	ck_assert_str_eq(options.firmware_log, "/l");
	ck_assert_uint_eq(options.boot_menu, 9);
	ck_assert_uint_eq(options.disk_count, 3);
	ck_assert_int_eq(options.disks[0].lun, -1);
	ck_assert(options.disks[1].floppy && options.disks[1].read_only);
	ck_assert_str_eq(options.disks[1].path, "/f,1");
	ck_assert_int_eq(options.disks[2].lun, 2);
	ck_assert(options.nics[0].legacy);
	ck_assert(options.display.wanted);
	run_options_clear(&options);
	settings_arguments_free(words);
}
END_TEST

START_TEST(a_switch_gives_descriptors)
{
	struct launch_files files = {.nics = {{.count = 0}, {.fds = {7, 9}, .count = 2}}};
	struct settings *settings =
		settings_of("{" MINIMAL ",'nics':[{'kind':'user'},{'kind':'switch','mac':"
			    "'02:00:00:00:00:01','bandwidth':1000,'queues':2}]}");
	char **words, *spec;
	struct error err;
	int count;

	ck_assert(!settings_arguments(settings, &files, &words, &err));
	count = count_words(words);
	ck_assert_str_eq(words[count - 2], "--nic");
	ck_assert_str_eq(words[count - 1], "fd=7:9,mac=02:00:00:00:00:01,bandwidth=1000");
	settings_arguments_free(words);
	spec = settings_nic_spec(json_array_get(settings_nics(settings), 1), files.nics[1].fds, 1);
	ck_assert_str_eq(spec, "fd=7,mac=02:00:00:00:00:01,bandwidth=1000");
	free(spec);
	files.nics[1].count = 0;
	ck_assert_int_eq(settings_arguments(settings, &files, &words, &err), -EINVAL);
	settings_free(settings);
}
END_TEST

/* Steps as "METHOD PARAMETERS" lines, and the lists. */
static void expect_live(const char *before, const char *after, const char *const *steps,
			const char *applied, const char *waiting)
{
	struct settings *old = settings_of(before), *new = settings_of(after), *now, *next;
	json_t *wanted_applied = json_of(applied), *wanted_waiting = json_of(waiting);
	struct settings_steps found;
	struct error err;
	size_t count = 0;

	ck_assert(!settings_live(old, new, &found, &err));
	now = settings_ref(found.in_force);
	for (; steps[count] && count < found.count; count++) {
		const struct settings_step *step = &found.list[count];
		const char *space = strchr(steps[count], ' ');
		json_t *parameters = space ? json_of(space + 1) : NULL;
		size_t length = space ? (size_t)(space - steps[count]) : strlen(steps[count]);
		const char *method = step->method ? step->method : "-";

		ck_assert_msg(strlen(method) == length && !strncmp(method, steps[count], length),
			      "%s is not %s", method, steps[count]);
		if (parameters && !json_equal(parameters, step->parameters))
			ck_abort_msg("%s is not %s", json_dumps(step->parameters, 0), steps[count]);
		if (!parameters)
			ck_assert_ptr_null(step->parameters);
		json_decref(parameters);
		ck_assert_msg(!settings_step_done(now, step, &next, &err), "%s", err.text);
		settings_free(now);
		now = next;
	}
	ck_assert_ptr_null(steps[count]);
	ck_assert_uint_eq(count, found.count);
	if (!json_equal(found.applied, wanted_applied) ||
	    !json_equal(found.waiting, wanted_waiting))
		ck_abort_msg("applied %s waiting %s", json_dumps(found.applied, 0),
			     json_dumps(found.waiting, 0));
	settings_steps_clear(&found);
	/* Once all is done, only what waits is different. */
	ck_assert(!settings_live(now, new, &found, &err));
	ck_assert_uint_eq(found.count, 0);
	ck_assert_uint_eq(json_array_size(found.applied), 0);
	ck_assert(json_equal(found.waiting, wanted_waiting));
	settings_steps_clear(&found);
	json_decref(wanted_applied);
	json_decref(wanted_waiting);
	settings_free(now);
	settings_free(new);
	settings_free(old);
}

#define STEPS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_STEPS   ((const char *const[]){NULL})
#define VM(more)   "{" MINIMAL "," UUID "," more "}"

START_TEST(what_only_the_daemon_heeds_is_applied)
{
	expect_live(VM("'notes':'a'"),
		    VM("'name':'b','stop_action':'turn_off','start_action':{'kind':'always'},"
		       "'access':[{'user':'u','right':'connect'}]"),
		    NO_STEPS, "['name','notes','start_action','stop_action','access']", "[]");
	expect_live(VM("'notes':'a'"), VM("'notes':'a'"), NO_STEPS, "[]", "[]");
}
END_TEST

START_TEST(what_the_machine_is_waits)
{
	expect_live(VM("'notes':'a'"),
		    VM("'notes':'a','processors':{'count':2},'boot':{'kernel':'/l'},"
		       "'console':{'kind':'none'},'display':{},'hvsock':{'path':'/h'},"
		       "'integration':{'kvp':false},'on_reset':'stop','memory':{'startup':"
		       "134217728}"),
		    NO_STEPS, "[]",
		    "['processors','boot','console','display','hvsock','integration',"
		    "'on_reset','memory']");
}
END_TEST

#define DYNAMIC(more) VM("'memory':{'startup':67108864,'maximum':134217728" more "}")

START_TEST(memory_is_balanced_live)
{
	expect_live(DYNAMIC(""), DYNAMIC(",'buffer':50"),
		    STEPS("SetMemory {'buffer':50,'weight':5000}"), "['memory']", "[]");
	expect_live(DYNAMIC(",'weight':9,'buffer':50"), DYNAMIC(",'weight':0"),
		    STEPS("SetMemory {'buffer':20,'weight':0}"), "['memory']", "[]");
	expect_live(DYNAMIC(",'weight':9"),
		    VM("'memory':{'startup':67108864,'maximum':268435456,'weight':8}"),
		    STEPS("SetMemory {'buffer':20,'weight':8}",
			  "SetMemory {'maximum':268435456,'minimum':67108864}"),
		    "['memory']", "[]");
	expect_live(DYNAMIC(""), DYNAMIC(",'minimum':33554432"),
		    STEPS("SetMemory {'maximum':134217728,'minimum':33554432}"), "['memory']",
		    "[]");
	expect_live(DYNAMIC(",'weight':9"),
		    VM("'memory':{'startup':33554432,'maximum':134217728,'weight':8}"),
		    STEPS("SetMemory {'buffer':20,'weight':8}"), "['memory']", "['memory']");
	expect_live(DYNAMIC(""), VM("'memory':{'startup':67108864}"), NO_STEPS, "[]", "['memory']");
	expect_live(VM("'notes':null"), DYNAMIC(",'weight':1"), NO_STEPS, "[]", "['memory']");
}
END_TEST

START_TEST(resources_are_the_daemons)
{
	expect_live(VM("'resources':{'cpu_weight':5}"),
		    VM("'resources':{'cpu_cap':50,'memory_max':67108864}"), STEPS("-"),
		    "['resources']", "[]");
	/* So small a limit would end a guest that has more. */
	expect_live(DYNAMIC(""), VM("'resources':{'memory_max':67108864}"), NO_STEPS, "[]",
		    "['memory','resources']");
}
END_TEST

#define DISKS(list) VM("'disks':[" list "]")
#define ROOT	    "{'name':'root','kind':'disk','path':'/r'}"

START_TEST(disks_come_and_go)
{
	expect_live(DISKS(ROOT ",{'name':'b','kind':'disk','path':'/b'}"),
		    DISKS("{'name':'root','kind':'disk','path':'/r','lun':0},"
			  "{'name':'c','kind':'disk','path':'/c','lun':1,'read_only':true,"
			  "'iops':7}"),
		    STEPS("DetachDisk {'lun':1}",
			  "AttachDisk {'path':'/c','lun':1,'read_only':true,'iops':7}"),
		    "['disks.b','disks.c']", "[]");
	expect_live(DISKS("{'name':'a','kind':'disk','path':'/a','iops':5,'bandwidth':4096}"),
		    DISKS("{'name':'a','kind':'disk','path':'/a','iops':6}"),
		    STEPS("SetDisk {'lun':0,'iops':6,'bandwidth':0}"), "['disks.a']", "[]");
}
END_TEST

START_TEST(media_change_in_a_drive)
{
	expect_live(DISKS("{'name':'d','kind':'cdrom','path':'/a'}"),
		    DISKS("{'name':'d','kind':'cdrom','path':'/b'}"),
		    STEPS("ChangeMedium {'lun':0,'path':'/b'}"), "['disks.d']", "[]");
	expect_live(DISKS("{'name':'d','kind':'cdrom','path':'/a'}"),
		    DISKS("{'name':'d','kind':'cdrom'}"), STEPS("ChangeMedium {'lun':0}"),
		    "['disks.d']", "[]");
	/* A drive more, and what a seed was made of, are for the next start. */
	expect_live(DISKS(ROOT ",{'name':'s','kind':'seed','path':'/s'}"),
		    DISKS(ROOT ",{'name':'s','kind':'seed','path':'/t'},{'name':'d','kind':"
			       "'cdrom'}"),
		    NO_STEPS, "[]", "['disks.s','disks.d']");
}
END_TEST

START_TEST(a_disk_is_not_swapped_by_surprise)
{
	expect_live(DISKS(ROOT), DISKS("{'name':'root','kind':'disk','path':'/other'}"), NO_STEPS,
		    "[]", "['disks.root']");
	/* Nor is its LUN taken before it is free. */
	expect_live(DISKS(ROOT),
		    DISKS("{'name':'root','kind':'disk','path':'/r','lun':1},"
			  "{'name':'new','kind':'disk','path':'/n','lun':0}"),
		    NO_STEPS, "[]", "['disks.root','disks.new']");
}
END_TEST

#define HARD  "{'name':'a','kind':'disk','path':'/a'}"
#define DRIVE "{'name':'d','kind':'cdrom'}"

START_TEST(what_is_on_ide_stays)
{
	expect_live(PC(UUID ",'disks':[" HARD "," DRIVE "]"),
		    PC(UUID ",'disks':[" DRIVE ",{'name':'b','kind':'disk','path':'/b'},"
			    "{'name':'c','kind':'disk','path':'/c','lun':3}]"),
		    STEPS("AttachDisk {'path':'/c','lun':3}"), "['disks.c']",
		    "['disks.a','disks.b']");
	expect_live(PC(UUID ",'disks':[" HARD "," DRIVE "]"),
		    PC(UUID ",'disks':[{'name':'a','kind':'disk','path':'/a','iops':7},"
			    "{'name':'d','kind':'cdrom','path':'/i'}]"),
		    STEPS("SetDisk {'lun':0,'controller':'ide','iops':7,'bandwidth':0}",
			  "ChangeMedium {'lun':1,'controller':'ide','path':'/i'}"),
		    "['disks.a','disks.d']", "[]");
	expect_live(
		PC(UUID ",'disks':[{'name':'f','kind':'floppy','path':'/f'}," DRIVE "]"),
		PC(UUID ",'disks':[{'name':'f','kind':'floppy','path':'/g','read_only':true},"
			"{'name':'d','kind':'cdrom','path':'/i'}]"),
		STEPS("ChangeMedium {'lun':0,'controller':'floppy','path':'/g','read_only':true}",
		      "ChangeMedium {'lun':0,'controller':'ide','path':'/i'}"),
		"['disks.f','disks.d']", "[]");
	/* A disk that goes at the next start has its place until then. */
	expect_live(PC(UUID ",'disks':[" HARD "," DRIVE "]"),
		    PC(UUID ",'disks':[{'name':'d','kind':'cdrom','path':'/i'}]"),
		    STEPS("ChangeMedium {'lun':1,'controller':'ide','path':'/i'}"), "['disks.d']",
		    "['disks.a']");
}
END_TEST

#define ON(name, controller)                                                                       \
	"{'name':'" name "','kind':'disk','path':'/" name "','lun':0,'controller':'" controller "'}"

START_TEST(controllers_come_before_their_disks_and_go_after_them)
{
	const char *one = VM("'disks':[" ROOT "]");
	const char *three =
		VM("'controllers':3,'disks':[" ROOT "," ON("b", "scsi1") "," ON("c", "scsi2") "]");

	expect_live(one, three,
		    STEPS("AttachController {}", "AttachController {}",
			  "AttachDisk {'path':'/b','lun':0,'controller':'scsi1'}",
			  "AttachDisk {'path':'/c','lun':0,'controller':'scsi2'}"),
		    "['controllers','disks.b','disks.c']", "[]");
	expect_live(three, one,
		    STEPS("DetachDisk {'lun':0,'controller':'scsi1'}",
			  "DetachDisk {'lun':0,'controller':'scsi2'}",
			  "DetachController {'controller':'scsi2'}",
			  "DetachController {'controller':'scsi1'}"),
		    "['disks.b','disks.c','controllers']", "[]");
}
END_TEST

/* Where a step was refused, those that build on it are not done. */
START_TEST(controllers_have_no_gaps)
{
	struct settings *one = settings_of(VM("'disks':[" ROOT "]"));
	struct settings *three =
		settings_of(VM("'controllers':3,'disks':[" ROOT "," ON("c", "scsi2") "]"));
	struct settings *bare = settings_of(VM("'controllers':3,'disks':[" ROOT "]"));
	struct settings_steps found;
	struct error err;

	ck_assert(!settings_live(one, bare, &found, &err));
	ck_assert_uint_eq(found.count, 2);
	ck_assert(settings_step_possible(one, &found.list[0]));
	ck_assert(!settings_step_possible(one, &found.list[1]));
	settings_steps_clear(&found);
	ck_assert(!settings_live(three, one, &found, &err));
	ck_assert_uint_eq(found.count, 3);
	ck_assert(settings_step_possible(three, &found.list[0]));
	ck_assert(!settings_step_possible(three, &found.list[1]));
	ck_assert(settings_step_possible(bare, &found.list[1]));
	ck_assert(!settings_step_possible(bare, &found.list[2]));
	settings_steps_clear(&found);
	settings_free(one);
	settings_free(three);
	settings_free(bare);
}
END_TEST

/* One that stays has its disk taken away by nobody. */
START_TEST(a_disk_that_waits_holds_its_controller)
{
	expect_live(VM("'controllers':2,'disks':[" ROOT "," ON("b", "scsi1") "]"),
		    VM("'disks':[" ROOT ",{'name':'b','kind':'disk','path':'/b','lun':7}]"),
		    NO_STEPS, "[]", "['disks.b','controllers']");
	expect_live(VM("'controllers':2,'disks':[" ROOT "," ON("b", "scsi1") "]"),
		    VM("'controllers':2,'disks':[" ROOT ",{'name':'b','kind':'disk','path':'/b',"
		       "'lun':0,'controller':'scsi1','iops':9}]"),
		    STEPS("SetDisk {'lun':0,'controller':'scsi1','iops':9,'bandwidth':0}"),
		    "['disks.b']", "[]");
}
END_TEST

#define LEGACY(name, number)                                                                       \
	"{'name':'" name "','kind':'user','legacy':true,'mac':'02:00:00:00:00:0" number "'}"

START_TEST(legacy_adapters_stay)
{
	expect_live(PC(UUID ",'nics':[" LEGACY("a", "1") "," LEGACY("b", "2") "]"),
		    PC(UUID ",'nics':[" LEGACY("a", "3") "," LEGACY("c", "4") "]"), NO_STEPS, "[]",
		    "['nics.a','nics.b','nics.c']");
}
END_TEST

START_TEST(another_name_is_the_same_disk)
{
	expect_live(DISKS(ROOT), DISKS("{'name':'r2','kind':'disk','path':'/r'}"), NO_STEPS,
		    "['disks.r2']", "[]");
	expect_live(DISKS(ROOT ",{'name':'b','kind':'disk','path':'/b'}"),
		    DISKS("{'name':'b','kind':'disk','path':'/b','lun':1}"),
		    STEPS("DetachDisk {'lun':0}"), "['disks.root']", "[]");
}
END_TEST

#define NICS(list) VM("'nics':[" list "]")
#define MAC(n)	   "'mac':'02:00:00:00:00:0" n "'"

START_TEST(nics_change_live)
{
	expect_live(NICS("{'name':'a','kind':'user'," MAC(
			    "1") "},"
				 "{'name':'b','kind':'tap','interface':'t'," MAC("2") "}"),
		    NICS("{'name':'b','kind':'stream','path':'/s,t'," MAC(
			    "2") "},"
				 "{'name':'c','kind':'switch'," MAC("3") "}"),
		    STEPS("DetachNic {'nic':'02:00:00:00:00:01'}",
			  "DetachNic {'nic':'02:00:00:00:00:02'}",
			  "AttachNic {'spec':'stream=/s,,t,mac=02:00:00:00:00:02'}", "AttachNic"),
		    "['nics.a','nics.b','nics.c']", "[]");
	expect_live(NICS("{'name':'a','kind':'user'," MAC("1") ",'bandwidth':5000}"),
		    NICS("{'name':'a','kind':'user'," MAC("1") "}"),
		    STEPS("SetNic {'nic':'02:00:00:00:00:01','bandwidth':0}"), "['nics.a']", "[]");
	expect_live(NICS("{'name':'a','kind':'user'," MAC("1") "}"),
		    NICS("{'name':'z','kind':'user'," MAC("1") "}"), NO_STEPS, "['nics.z']", "[]");
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("settings_live", &test_case);

	tcase_add_test(test_case, run_reads_what_was_meant);
	tcase_add_test(test_case, little_is_said_of_a_small_vm);
	tcase_add_test(test_case, a_pc_is_started_as_one);
	tcase_add_test(test_case, a_switch_gives_descriptors);
	tcase_add_test(test_case, what_only_the_daemon_heeds_is_applied);
	tcase_add_test(test_case, what_the_machine_is_waits);
	tcase_add_test(test_case, memory_is_balanced_live);
	tcase_add_test(test_case, resources_are_the_daemons);
	tcase_add_test(test_case, disks_come_and_go);
	tcase_add_test(test_case, media_change_in_a_drive);
	tcase_add_test(test_case, a_disk_is_not_swapped_by_surprise);
	tcase_add_test(test_case, what_is_on_ide_stays);
	tcase_add_test(test_case, controllers_come_before_their_disks_and_go_after_them);
	tcase_add_test(test_case, controllers_have_no_gaps);
	tcase_add_test(test_case, a_disk_that_waits_holds_its_controller);
	tcase_add_test(test_case, legacy_adapters_stay);
	tcase_add_test(test_case, another_name_is_the_same_disk);
	tcase_add_test(test_case, nics_change_live);
	return suite_run(suite);
}
