class AccelerasException(Exception):
    pass


class BadInputsShape(AccelerasException):
    def __init__(self, layer, expected, got):
        super().__init__(
            f"Data shape {got} for layer {layer} doesn't match network's input shape {expected}"
        )


class AccelerasQuantizationError(AccelerasException):
    pass
