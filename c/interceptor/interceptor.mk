# libhcs_interceptor.so: preloaded into users' containers; needs nothing but the C library.
INTERCEPTOR = $(BUILD)/interceptor/libhcs_interceptor.so
ALL += $(INTERCEPTOR)

INTERCEPTOR_PARTS = account config connection debug hooks_acl hooks_cuda ledger ledger_file \
                    process report symbols table
INTERCEPTOR_OBJECTS = $(INTERCEPTOR_PARTS:%=$(BUILD)/interceptor/%.o)

$(BUILD)/interceptor/%.o: interceptor/%.c $(wildcard interceptor/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PART_CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -c -o $@ $<

# dlsym must jump to the real one, not call it, whatever CFLAGS say (see symbols.c).
$(BUILD)/interceptor/symbols.o: PART_CFLAGS = -O2 -foptimize-sibling-calls -fno-stack-protector

$(INTERCEPTOR): $(INTERCEPTOR_OBJECTS) interceptor/exports.map
	$(CC) $(CFLAGS) -shared -Wl,-soname,$(@F) -Wl,-z,defs -Wl,-z,now -Wl,-Bsymbolic \
	  -Wl,--version-script=interceptor/exports.map -o $@ $(INTERCEPTOR_OBJECTS) -ldl -pthread
