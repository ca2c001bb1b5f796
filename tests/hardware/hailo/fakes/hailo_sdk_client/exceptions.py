class InvalidStateException(Exception):
    pass


class BackendAllocatorException(Exception):
    pass


class AllocatorScriptParserException(Exception):
    pass
